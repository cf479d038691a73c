"""The user's hooks: which there are for a folder, where they stand, and which of them are trusted.

They stand in `hooks.json` beside a layer's `config.toml`, and in `[hooks]` of that file. None runs before the user's own
configuration names its hash in `[hooks.state]`: a hook is a program with all rights of the user.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from config.document import Document, Layer, Origin
from config.projects import with_project_layers
from config.settings import settings_of
from protocol.hooks import HookEventName, HookMetadata, HookSource, HookTrustStatus

__all__ = ["Hook", "Hooks", "find_hooks", "hooks_of"]

HOOKS_FILE = "hooks.json"
DEFAULT_TIMEOUT_S = 600
QUICK_TIMEOUT_S, QUICK_DEFAULT_S = 3, 1
"""Of hooks that somebody waits for at an end: the most they may take, and what they have unless they say so."""
BYPASS = "bypass_hook_trust"
_QUICK = ("sessionEnd", "interrupt")
_SOURCES: dict[str, HookSource] = {
    "system": "system",
    "user": "user",
    "profile": "user",
    "project": "project",
}


class _Event(msgspec.Struct, frozen=True):
    """`label` stands in keys and hashes. Only a `matched` event has something for a matcher to look at."""

    name: HookEventName
    label: str
    matched: bool = True


EVENTS: dict[str, _Event] = {
    "PreModelRequest": _Event("preModelRequest", "pre_model_request", matched=False),
    "PostModelRequest": _Event("postModelRequest", "post_model_request", matched=False),
    "PreToolUse": _Event("preToolUse", "pre_tool_use"),
    "PermissionRequest": _Event("permissionRequest", "permission_request"),
    "PostToolUse": _Event("postToolUse", "post_tool_use"),
    "PreCompact": _Event("preCompact", "pre_compact"),
    "PostCompact": _Event("postCompact", "post_compact"),
    "SessionStart": _Event("sessionStart", "session_start"),
    "SessionEnd": _Event("sessionEnd", "session_end"),
    "UserPromptSubmit": _Event("userPromptSubmit", "user_prompt_submit", matched=False),
    "SubagentStart": _Event("subagentStart", "subagent_start"),
    "SubagentStop": _Event("subagentStop", "subagent_stop"),
    "Stop": _Event("stop", "stop", matched=False),
    "Interrupt": _Event("interrupt", "interrupt", matched=False),
}
"""By the key in the files, in the order in which hooks are shown and counted."""


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag="command", rename="camel"):
    command: str
    timeout: int | None = None
    is_async: bool = msgspec.field(default=False, name="async")
    status_message: str | None = None
    additional_context_limit: int | None = None
    command_windows: str | None = None

    def __post_init__(self) -> None:
        if (self.timeout or 0) < 0 or (self.additional_context_limit or 0) < 0:
            raise ValueError("timeout and additionalContextLimit must not be negative")


class _McpTool(msgspec.Struct, frozen=True, tag="mcp_tool"):
    pass


class _Prompt(msgspec.Struct, frozen=True, tag="prompt"):
    pass


class _Agent(msgspec.Struct, frozen=True, tag="agent"):
    pass


class _Group(msgspec.Struct, frozen=True):
    matcher: str | None = None
    hooks: list[_Command | _McpTool | _Prompt | _Agent] = []


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    description: str | None = None
    hooks: dict[str, Any] = {}


class _State(msgspec.Struct, frozen=True):
    enabled: bool | None = None
    trusted_hash: str | None = None


class _Declared(msgspec.Struct, frozen=True):
    """A command where it stands: the `number`th of the `place`th group of its event's `table` in the file `path`."""

    source: HookSource
    path: str
    table: str
    event: _Event
    place: int
    number: int
    matcher: str | None
    command: _Command


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """One command. `context_limit`: in tokens, see `additionalContextLimit`; `order`: its place among all."""

    key: str
    event: HookEventName
    matcher: str | None
    command: str
    timeout_s: int
    asynchronous: bool
    status_message: str | None
    context_limit: int | None
    source: HookSource
    source_path: str
    order: int
    hash: str
    trust: HookTrustStatus
    enabled: bool

    def shown(self) -> HookMetadata:
        return HookMetadata(
            key=self.key,
            event_name=self.event,
            command=self.command,
            is_async=self.asynchronous,
            matcher=self.matcher,
            timeout_sec=self.timeout_s,
            status_message=self.status_message,
            additional_context_limit=self.context_limit,
            source_path=self.source_path,
            source=self.source,
            display_order=self.order,
            enabled=self.enabled,
            current_hash=self.hash,
            trust_status=self.trust,
        )


class Hooks(msgspec.Struct, frozen=True):
    """All that were found, and what is wrong with the others."""

    found: tuple[Hook, ...] = ()
    warnings: tuple[str, ...] = ()
    bypass: bool = False
    """Whether the request that loads the thread vouches for all of them."""

    @property
    def running(self) -> tuple[Hook, ...]:
        """Those that run."""
        return tuple(hook for hook in self.found if hook.enabled and (self.bypass or hook.trust == "trusted"))


def find_hooks(document: Document, cwd: str, home: str) -> Hooks:
    """Those of a thread in `cwd` (absolute).

    :raises ConfigError: a layer is wrong.
    """
    return hooks_of(with_project_layers(document, cwd, home), home)


def hooks_of(document: Document, home: str) -> Hooks:
    """Those of a document that has its project layers. A mistake in a file costs its hooks, and is a warning."""
    if not settings_of(document).feature("hooks", default=True):
        return Hooks()
    found: list[Hook] = []
    warnings: list[str] = []
    states = _states(document)
    for one in _declared(document, home, warnings):
        event, command = one.event, one.command
        key = f"{one.path}:{event.label}:{one.place}:{one.number}"
        matcher = one.matcher if event.matched else None
        timeout = _timeout(one.table, event, command, one.path, warnings)
        current = _hash(event, matcher, command, timeout)
        state = states.get(key, _State())
        found.append(
            Hook(
                key=key,
                event=event.name,
                matcher=matcher,
                command=command.command,
                timeout_s=timeout,
                asynchronous=command.is_async,
                status_message=command.status_message,
                context_limit=command.additional_context_limit,
                source=one.source,
                source_path=one.path,
                order=len(found),
                hash=current,
                trust=_trust(state, current),
                enabled=state.enabled is not False,
            )
        )
    return Hooks(tuple(found), tuple(warnings), _bypassed(document))


def _declared(document: Document, home: str, warnings: list[str]) -> Iterator[_Declared]:
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
                for number, command in _commands(event, group, path, warnings):
                    yield _Declared(source, path, table, event, place, number, group.matcher, command)


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


def _commands(event: _Event, group: _Group, path: str, warnings: list[str]) -> Iterator[tuple[int, _Command]]:
    if event.matched and (mistake := _unmatchable(group.matcher)):
        warnings.append(f'invalid matcher "{group.matcher}" in {path}: {mistake}')
        return
    for number, handler in enumerate(group.hooks):
        match handler:
            case _Command() if not handler.command.strip():
                warnings.append(f"skipping empty hook command in {path}")
            case _Command():
                yield number, handler
            case _McpTool():
                warnings.append(f"skipping MCP tool hook in {path}: MCP hooks are not supported")
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


def _timeout(key: str, event: _Event, command: _Command, path: str, warnings: list[str]) -> int:
    quick = event.name in _QUICK
    if command.timeout is None:
        return QUICK_DEFAULT_S if quick else DEFAULT_TIMEOUT_S
    if quick and command.timeout > QUICK_TIMEOUT_S:
        warnings.append(f"clamping {key} hook timeout to {QUICK_TIMEOUT_S}s in {path}")
        return QUICK_TIMEOUT_S
    return max(1, command.timeout)


def _hash(event: _Event, matcher: str | None, command: _Command, timeout: int) -> str:
    """What the user trusts: all that says when and how the program runs. The same as Codex's, which shares the file."""
    handler: dict[str, Any] = {
        "type": "command",
        "command": command.command,
        "timeout": timeout,
        "async": command.is_async,
    }
    if command.status_message is not None:
        handler["statusMessage"] = command.status_message
    if command.additional_context_limit is not None:
        handler["additionalContextLimit"] = command.additional_context_limit
    said: dict[str, Any] = {"event_name": event.label, "hooks": [handler]}
    if matcher is not None:
        said["matcher"] = matcher
    return f"sha256:{hashlib.sha256(msgspec.json.encode(said, order='sorted')).hexdigest()}"


def _states(document: Document) -> dict[str, _State]:
    """What the user says of single hooks. A project has no word in it: it would trust itself."""
    states: dict[str, Any] = {}
    own = Document(tuple(layer for layer in document.layers if layer.origin.kind != "project"))
    table = own.merged().get("hooks")
    said = table.get("state") if isinstance(table, dict) else None
    for key, state in (said if isinstance(said, dict) else {}).items():
        try:
            states[key] = msgspec.convert(state, _State)
        except msgspec.ValidationError:
            continue  # not understood is not trusted
    return states


def _trust(state: _State, current: str) -> HookTrustStatus:
    if state.trusted_hash is None:
        return "untrusted"
    return "trusted" if state.trusted_hash == current else "modified"


def _bypassed(document: Document) -> bool:
    return any(
        layer.origin.kind == "request" and layer.values.get(BYPASS) is True for layer in document.layers
    )
