"""What is written into a rollout: one function for each kind of line.

Times are unix seconds (`*_at`) and milliseconds (`*_ms`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.control import ThreadGoal
from protocol.items import ThreadItem
from protocol.policy import ApprovalPolicy, SandboxPolicy
from protocol.threads import HistoryMode
from protocol.turns import TurnError
from rollouts.ids import new_id
from rollouts.lines import Entry, SessionMeta, TaskComplete, TokenInfo, TurnAborted, TurnContext, timestamp
from rollouts.policy import permission_profile, stored_error, stored_sandbox

__all__ = [
    "ItemEntry",
    "compacted",
    "goal_cleared",
    "goal_updated",
    "item_completed",
    "new_meta",
    "response_item",
    "task_complete",
    "task_started",
    "token_count",
    "turn_aborted",
    "turn_settings",
]


class ItemEntry(msgspec.Struct, frozen=True):
    """A finished item; how it stands in the file is a matter of the file's format."""

    turn_id: str
    item: ThreadItem


def new_meta(
    thread_id: str,
    *,
    created_at: float,
    cwd: str,
    roots: list[str],
    originator: str,
    cli_version: str,
    model_provider: str,
    model: str,
    base_instructions: str,
    source: Any = "vscode",
    custom_instructions: bool = False,
    history_mode: HistoryMode = "paginated",
    thread_source: str | None = None,
    dynamic_tools: Any = None,
) -> SessionMeta:
    """The first line of a new thread. Without base instructions and a window id the peer takes it for damaged."""
    provenance = {"type": "custom"} if custom_instructions else {"type": "model", "model": model}
    return SessionMeta(
        account_scoped=True,
        session_id=thread_id,
        id=thread_id,
        timestamp=timestamp(created_at),
        cwd=cwd,
        runtime_workspace_roots=roots,
        originator=originator,
        cli_version=cli_version,
        source=source,
        model_provider=model_provider,
        thread_source=thread_source,
        base_instructions={"text": base_instructions, "provenance": provenance},
        dynamic_tools=dynamic_tools,
        history_mode=history_mode,
        context_window={"window_id": new_id()},
    )


class TurnOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """What set a turn off, "goal" if the thread did by itself, and the turns of other threads behind it."""

    trigger: str | None = None
    parent: str | None = None
    root: str | None = None


FROM_HERE = TurnOrigin()


def task_started(
    turn_id: str,
    *,
    started_at: int,
    context_window: int | None = None,
    mode: str = "default",
    origin: TurnOrigin = FROM_HERE,
) -> Entry:
    root = origin.root or turn_id
    attribution = {
        "turn_id": turn_id,
        "turn_trigger": origin.trigger,
        "parent_turn_id": origin.parent,
        "initiating_agent_path": None,
        "root_turn_id": root,
    }
    payload = {
        "type": "task_started",
        "turn_attribution": attribution,
        "turn_id": turn_id,
        "root_turn_id": root,
        "started_at": started_at,
        "model_context_window": context_window,
        "collaboration_mode_kind": mode,
    }
    return Entry("event_msg", payload)


def turn_settings(
    thread_id: str,
    turn_id: str,
    *,
    cwd: str,
    roots: list[str],
    model: str,
    model_provider: str,
    approval_policy: ApprovalPolicy,
    sandbox: SandboxPolicy,
    approvals_reviewer: str = "user",
    effort: str | None = None,
    summary: str = "auto",
    mode: str = "default",
    service_tier: str | None = None,
    profile_id: str | None = None,
) -> list[Entry]:
    """What holds for a turn, in the two lines the peer has for it: it takes the sandbox from the second one.

    `roots`: the folders of the workspace, the cwd among them. `profile_id`: the name of the sandbox, if it goes by one.
    """
    profile = permission_profile(sandbox, cwd)
    named = {"id": profile_id} if profile_id is not None else None
    collaboration = {
        "mode": mode,
        "settings": {"model": model, "reasoning_effort": effort, "developer_instructions": None},
    }
    context = TurnContext(
        turn_id=turn_id,
        root_turn_id=turn_id,
        cwd=cwd,
        approval_policy=approval_policy,
        approvals_reviewer=approvals_reviewer,
        sandbox_policy=stored_sandbox(sandbox),
        permission_profile=profile,
        active_permission_profile=named,
        model=model,
        effort=effort,
        collaboration_mode=collaboration,
        summary=summary,
    )
    settings = {
        "model": model,
        "model_provider_id": model_provider,
        "approval_policy": approval_policy,
        "approvals_reviewer": approvals_reviewer,
        "requested_approvals_reviewer": approvals_reviewer,
        "permission_profile": profile,
        "cwd": cwd,
        "runtime_workspace_roots": roots,
        "collaboration_mode": collaboration,
        "disabled_plugin_ids": [],
    }
    if named is not None:
        settings["active_permission_profile"] = named
    if service_tier is not None:
        settings["service_tier"] = service_tier
    applied = {"type": "thread_settings_applied", "thread_id": thread_id, "thread_settings": settings}
    return [Entry("turn_context", context), Entry("event_msg", applied)]


def response_item(item: bytes | dict[str, Any]) -> Entry:
    """An item sent to or got from the model, as JSON or as an object."""
    return Entry("response_item", msgspec.Raw(item) if isinstance(item, bytes) else item)


def item_completed(turn_id: str, item: ThreadItem) -> ItemEntry:
    return ItemEntry(turn_id, item)


def token_count(info: TokenInfo, rate_limits: Any = None) -> Entry:
    return Entry("event_msg", {"type": "token_count", "info": info, "rate_limits": rate_limits})


def compacted(message: str, replacement: list[bytes]) -> Entry:
    """`replacement`: the model items (as JSON) that stand for all before; `message`: the summary among them."""
    history = [msgspec.Raw(item) for item in replacement]
    return Entry("compacted", {"message": message, "replacement_history": history})


def goal_updated(thread_id: str, goal: ThreadGoal) -> Entry:
    """In camelCase, unlike the other events: so the peer writes it."""
    return Entry("event_msg", {"type": "thread_goal_updated", "threadId": thread_id, "goal": goal})


def goal_cleared(thread_id: str) -> Entry:
    return Entry("event_msg", {"type": "thread_goal_cleared", "threadId": thread_id})


def task_complete(
    turn_id: str,
    *,
    completed_at: int,
    started_at: int | None = None,
    duration_ms: int | None = None,
    last_agent_message: str | None = None,
    error: TurnError | None = None,
) -> Entry:
    """The end of a turn that ran to its end (`error` None) or failed."""
    payload = TaskComplete(
        turn_id=turn_id,
        root_turn_id=turn_id,
        last_agent_message=last_agent_message,
        error=stored_error(error) if error else None,
        started_at=started_at,
        completed_at=completed_at,
        duration_ms=duration_ms,
    )
    return Entry("event_msg", payload)


def turn_aborted(
    turn_id: str,
    *,
    completed_at: int,
    started_at: int | None = None,
    duration_ms: int | None = None,
    reason: str = "interrupted",
) -> Entry:
    payload = TurnAborted(
        turn_id=turn_id,
        root_turn_id=turn_id,
        reason=reason,
        started_at=started_at,
        completed_at=completed_at,
        duration_ms=duration_ms,
    )
    return Entry("event_msg", payload)
