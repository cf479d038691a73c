"""The user's hooks: which there are for a folder, and which of them are trusted.

None runs before the user's own configuration names its hash in `[hooks.state]`: a hook is a program with all rights of
the user.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from config.document import Document
from config.hook_files import Command, Declared, McpTool, declared
from config.settings import settings_of
from protocol.hooks import HookEventName, HookHandlerType, HookMetadata, HookSource, HookTrustStatus

__all__ = ["Hook", "Hooks", "hooks_of"]

DEFAULT_TIMEOUT_S = 600
QUICK_TIMEOUT_S, QUICK_DEFAULT_S = 3, 1
"""Of hooks that somebody waits for at an end: the most they may take, and what they have unless they say so."""
BYPASS = "bypass_hook_trust"
_QUICK = ("sessionEnd", "interrupt")


class _State(msgspec.Struct, frozen=True):
    enabled: bool | None = None
    trusted_hash: str | None = None


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """One hook. `runs`: a command line, or a tool of an MCP server.

    `context_limit`: in tokens, see `additionalContextLimit`; `order`: its place among all.
    """

    key: str
    event: HookEventName
    matcher: str | None
    runs: str | McpTool
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

    @property
    def handler_type(self) -> HookHandlerType:
        return "command" if isinstance(self.runs, str) else "mcpTool"

    def shown(self) -> HookMetadata:
        runs, unset = self.runs, msgspec.UNSET
        command = runs if isinstance(runs, str) else unset
        return HookMetadata(
            key=self.key,
            event_name=self.event,
            handler_type=self.handler_type,
            command=command,
            is_async=unset if command is unset else self.asynchronous,
            server=unset if isinstance(runs, str) else runs.server,
            tool=unset if isinstance(runs, str) else runs.tool,
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


def hooks_of(document: Document, home: str) -> Hooks:
    """Those of a document that has its project layers.

    :raises ConfigError: a layer is wrong.
    """
    if not settings_of(document).feature("hooks", default=True):
        return Hooks()
    found: list[Hook] = []
    warnings: list[str] = []
    states = _states(document)
    for one in declared(document, home, warnings):
        event, handler = one.event, one.handler
        command = handler if isinstance(handler, Command) else None
        key = f"{one.path}:{event.label}:{one.place}:{one.number}"
        matcher = one.matcher if event.matched else None
        timeout = _timeout(one, warnings)
        current = _hash(one, matcher, timeout)
        state = states.get(key, _State())
        found.append(
            Hook(
                key=key,
                event=event.name,
                matcher=matcher,
                runs=handler.command if isinstance(handler, Command) else handler,
                timeout_s=timeout,
                asynchronous=command is not None and command.is_async,
                status_message=handler.status_message,
                context_limit=command.additional_context_limit if command is not None else None,
                source=one.source,
                source_path=one.path,
                order=len(found),
                hash=current,
                trust=_trust(state, current),
                enabled=state.enabled is not False,
            )
        )
    return Hooks(tuple(found), tuple(warnings), _bypassed(document))


def _timeout(one: Declared, warnings: list[str]) -> int:
    quick, said = one.event.name in _QUICK, one.handler.timeout
    if said is None:
        return QUICK_DEFAULT_S if quick else DEFAULT_TIMEOUT_S
    if quick and said > QUICK_TIMEOUT_S:
        warnings.append(f"clamping {one.table} hook timeout to {QUICK_TIMEOUT_S}s in {one.path}")
        return QUICK_TIMEOUT_S
    return max(1, said)


def _hash(one: Declared, matcher: str | None, timeout: int) -> str:
    """What the user trusts: all that says when and how the hook runs. The same as Codex's, which shares the file."""
    match one.handler:
        case Command() as command:
            handler: dict[str, Any] = {
                "type": "command",
                "command": command.command,
                "async": command.is_async,
            }
            if command.additional_context_limit is not None:
                handler["additionalContextLimit"] = command.additional_context_limit
        case McpTool() as tool:
            handler = {
                "type": "mcp_tool",
                "server": tool.server,
                "tool": tool.tool,
                "input": _with_number_texts(tool.input),
            }
    handler["timeout"] = timeout
    if one.handler.status_message is not None:
        handler["statusMessage"] = one.handler.status_message
    said: dict[str, Any] = {"event_name": one.event.label, "hooks": [handler]}
    if matcher is not None:
        said["matcher"] = matcher
    return f"sha256:{hashlib.sha256(msgspec.json.encode(said, order='sorted')).hexdigest()}"


def _with_number_texts(value: Any) -> Any:
    """Codex hashes a number as its text, in an object with this key."""
    if isinstance(value, dict):
        return {key: _with_number_texts(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_number_texts(inner) for inner in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"$serde_json::private::Number": repr(value)}
    return value


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
