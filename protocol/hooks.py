"""Hooks: programs of the user's that run at certain points of a thread's life."""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.base import Wire

__all__ = [
    "HookEntryKind",
    "HookEventName",
    "HookExecutionMode",
    "HookHandlerType",
    "HookMetadata",
    "HookOutputEntry",
    "HookRun",
    "HookRunStatus",
    "HookRunSummary",
    "HookScope",
    "HookSource",
    "HookTrustStatus",
]

HookEventName = Literal[
    "preModelRequest",
    "postModelRequest",
    "preToolUse",
    "permissionRequest",
    "postToolUse",
    "preCompact",
    "postCompact",
    "sessionStart",
    "sessionEnd",
    "userPromptSubmit",
    "subagentStart",
    "subagentStop",
    "stop",
    "interrupt",
]
HookScope = Literal["thread", "turn"]
HookSource = Literal[
    "system",
    "user",
    "project",
    "mdm",
    "sessionFlags",
    "plugin",
    "cloudRequirements",
    "cloudManagedConfig",
    "legacyManagedConfigFile",
    "legacyManagedConfigMdm",
    "unknown",
]
"""Ours are the first three."""
HookTrustStatus = Literal["managed", "untrusted", "trusted", "modified"]
HookHandlerType = Literal["command", "mcpTool", "prompt", "agent"]
HookExecutionMode = Literal["sync", "async"]
HookRunStatus = Literal["running", "completed", "failed", "blocked", "stopped"]
HookEntryKind = Literal["warning", "stop", "feedback", "context", "error"]


class HookMetadata(Wire, kw_only=True):
    """One hook of the configuration. `key` and `current_hash` are what `hooks.state` trusts it by.

    A `command` and whether it is `async`, or a `tool` of an MCP `server`.
    """

    key: str
    event_name: HookEventName
    handler_type: HookHandlerType = "command"
    command: str | msgspec.UnsetType = msgspec.UNSET
    is_async: bool | msgspec.UnsetType = msgspec.field(name="async", default=msgspec.UNSET)
    server: str | msgspec.UnsetType = msgspec.UNSET
    tool: str | msgspec.UnsetType = msgspec.UNSET
    matcher: str | None
    timeout_sec: int
    status_message: str | None
    additional_context_limit: int | None
    source_path: str
    source: HookSource
    plugin_id: str | None = None
    environment_id: str | None = None
    display_order: int
    enabled: bool
    is_managed: bool = False
    current_hash: str
    trust_status: HookTrustStatus


class HookOutputEntry(Wire, kw_only=True):
    kind: HookEntryKind
    text: str


class HookRunSummary(Wire, kw_only=True):
    """One run of one hook. Times are Unix seconds; `duration_ms` and `completed_at` are there when it is over."""

    id: str
    event_name: HookEventName
    handler_type: HookHandlerType = "command"
    execution_mode: HookExecutionMode = "sync"
    scope: HookScope
    source_path: str
    source: HookSource
    display_order: int
    status: HookRunStatus
    status_message: str | None
    started_at: int
    completed_at: int | None = None
    duration_ms: int | None = None
    entries: list[HookOutputEntry] = []


class HookRun(Wire, kw_only=True):
    """`hook/started` and `hook/completed`."""

    thread_id: str
    turn_id: str | None
    run: HookRunSummary
