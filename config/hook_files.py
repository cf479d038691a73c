"""Where hooks are written down: `hooks.json` beside a layer's `config.toml`, and `[hooks]` of that file.

A mistake costs the hooks it is in, and is a warning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from config.document import Document, Layer, Origin
from protocol.hooks import HookEventName, HookSource

__all__ = ["EVENTS", "Command", "Declared", "Event", "declared"]

HOOKS_FILE = "hooks.json"
_SOURCES: dict[str, HookSource] = {
    "system": "system",
    "user": "user",
    "profile": "user",
    "project": "project",
}


class Event(msgspec.Struct, frozen=True):
    """`label` stands in keys and hashes. Only a `matched` event has something for a matcher to look at."""

    name: HookEventName
    label: str
    matched: bool = True


EVENTS: dict[str, Event] = {
    "PreModelRequest": Event("preModelRequest", "pre_model_request", matched=False),
    "PostModelRequest": Event("postModelRequest", "post_model_request", matched=False),
    "PreToolUse": Event("preToolUse", "pre_tool_use"),
    "PermissionRequest": Event("permissionRequest", "permission_request"),
    "PostToolUse": Event("postToolUse", "post_tool_use"),
    "PreCompact": Event("preCompact", "pre_compact"),
    "PostCompact": Event("postCompact", "post_compact"),
    "SessionStart": Event("sessionStart", "session_start"),
    "SessionEnd": Event("sessionEnd", "session_end"),
    "UserPromptSubmit": Event("userPromptSubmit", "user_prompt_submit", matched=False),
    "SubagentStart": Event("subagentStart", "subagent_start"),
    "SubagentStop": Event("subagentStop", "subagent_stop"),
    "Stop": Event("stop", "stop", matched=False),
    "Interrupt": Event("interrupt", "interrupt", matched=False),
}
"""By the key in the files, in the order in which hooks are shown and counted."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag="command", rename="camel"):
    command: str
    timeout: int | None = None
    is_async: bool = msgspec.field(default=False, name="async")
    status_message: str | None = None
    additional_context_limit: int | None = None
    command_windows: str | None = None

    def __post_init__(self) -> None:
        if (self.timeout or 0) < 0 or (self.additional_context_limit or 0) < 0:
            raise ValueError("timeout and additionalContextLimit must not be negative")


class McpTool(msgspec.Struct, frozen=True, kw_only=True, tag="mcp_tool", rename="camel"):
    """`input`: the tool's arguments, in which `${...}` stands for what hooks are told."""

    server: str
    tool: str
    input: dict[str, Any] = {}
    timeout: int | None = None
    status_message: str | None = None

    def __post_init__(self) -> None:
        if (self.timeout or 0) < 0:
            raise ValueError("timeout must not be negative")
        if _has_null(self.input):
            # The other form that a hook may be written in has no null.
            raise ValueError("MCP hook input must be representable as TOML")


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return value is None or (isinstance(value, list) and any(map(_has_null, value)))


class _Prompt(msgspec.Struct, frozen=True, tag="prompt"):
    pass


class _Agent(msgspec.Struct, frozen=True, tag="agent"):
    pass


class _Group(msgspec.Struct, frozen=True):
    matcher: str | None = None
    hooks: list[Command | McpTool | _Prompt | _Agent] = []


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    description: str | None = None
    hooks: dict[str, Any] = {}


class Declared(msgspec.Struct, frozen=True):
    """A hook where it stands: the `number`th of the `place`th group of its event's `table` in the file `path`."""

    source: HookSource
    path: str
    table: str
    event: Event
    place: int
    number: int
    matcher: str | None
    handler: Command | McpTool


def declared(document: Document, home: str, warnings: list[str]) -> Iterator[Declared]:
    for source, path, hooks in _tables(document, home, warnings):
        for table, event in EVENTS.items():
            if table not in hooks:
                continue
            try:
                groups = msgspec.convert(hooks[table], list[_Group])
            except msgspec.ValidationError as error:
                warnings.append(f"failed to parse hooks config {path}: {table}: {error}")
                continue
            for place, group in enumerate(groups):
                for number, handler in _handlers(event, group, path, warnings):
                    yield Declared(source, path, table, event, place, number, group.matcher, handler)


def _tables(
    document: Document, home: str, warnings: list[str]
) -> Iterator[tuple[HookSource, str, dict[str, Any]]]:
    """The tables of events, the weakest layer first; of one layer `hooks.json` first."""
    layers = list(document.layers)
    if not any(layer.origin.kind == "user" for layer in layers):
        # A home may have hooks and no config.toml.
        layers.insert(0, Layer(Origin("user", os.path.join(home, "config.toml")), {}))
    for layer in layers:
        source, file = _SOURCES.get(layer.origin.kind), layer.origin.file
        if source is None or file is None or layer.disabled is not None:
            continue
        path = os.path.join(os.path.dirname(file), HOOKS_FILE)
        read = _read(path, warnings) if layer.origin.kind != "profile" else {}
        table = layer.values.get("hooks") or {}
        if not isinstance(table, dict):
            warnings.append(f"failed to parse hooks config {file}: hooks: expected a table")
            table = {}
        events = {key: value for key, value in table.items() if key in EVENTS}
        if read and events:
            warnings.append(
                f"loading hooks from both {path} and {file}; prefer a single representation for this layer"
            )
        yield source, path, read
        yield source, file, events


def _read(path: str, warnings: list[str]) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            text = stream.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        warnings.append(f"failed to read hooks config {path}: {error.strerror}")
        return {}
    try:
        return msgspec.json.decode(text, type=_File).hooks
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        warnings.append(f"failed to parse hooks config {path}: {error}")
        return {}


def _handlers(
    event: Event, group: _Group, path: str, warnings: list[str]
) -> Iterator[tuple[int, Command | McpTool]]:
    if event.matched and (mistake := _unmatchable(group.matcher)):
        warnings.append(f'invalid matcher "{group.matcher}" in {path}: {mistake}')
        return
    for number, handler in enumerate(group.hooks):
        match handler:
            case Command() if not handler.command.strip():
                warnings.append(f"skipping empty hook command in {path}")
            case McpTool() if not (handler.server.strip() and handler.tool.strip()):
                warnings.append(f"skipping MCP tool hook in {path}: server and tool must not be empty")
            case McpTool() if event.name == "sessionEnd":
                warnings.append(f"skipping MCP tool hook in {path}: SessionEnd MCP hooks are not supported")
            case Command() | McpTool():
                yield number, handler
            case _Prompt():
                warnings.append(f"skipping prompt hook in {path}: prompt hooks are not supported yet")
            case _Agent():
                warnings.append(f"skipping agent hook in {path}: agent hooks are not supported yet")


def _unmatchable(matcher: str | None) -> str:
    try:
        re.compile("" if matcher == "*" else matcher or "")
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return ""
