"""The user's hooks: which there are for a folder, and which of them are trusted.

None runs before the user's own configuration names its hash in `[hooks.state]`: a hook is a program with all rights of
the user.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from config.document import Document
from config.hook_files import Command, Event, declared
from config.settings import settings_of
from protocol.hooks import HookEventName, HookMetadata, HookSource, HookTrustStatus

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


def _timeout(key: str, event: Event, command: Command, path: str, warnings: list[str]) -> int:
    quick = event.name in _QUICK
    if command.timeout is None:
        return QUICK_DEFAULT_S if quick else DEFAULT_TIMEOUT_S
    if quick and command.timeout > QUICK_TIMEOUT_S:
        warnings.append(f"clamping {key} hook timeout to {QUICK_TIMEOUT_S}s in {path}")
        return QUICK_TIMEOUT_S
    return max(1, command.timeout)


def _hash(event: Event, matcher: str | None, command: Command, timeout: int) -> str:
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
