"""Requests about a loaded thread beside its turns: settings, compaction, items, goals, the user's own commands."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from protocol.base import UNSET, Absent, Params, Wire
from protocol.constraints import Unsigned32
from protocol.policy import ApprovalPolicy, SandboxPolicy
from protocol.threads import ApprovalsReviewer, Environment, PermissionProfile, Personality
from protocol.turns import CollaborationMode, TurnOverrides

__all__ = [
    "ContextCompactedNotification",
    "ThreadBackgroundTerminal",
    "ThreadBackgroundTerminalsCleanParams",
    "ThreadBackgroundTerminalsCleanResponse",
    "ThreadBackgroundTerminalsListParams",
    "ThreadBackgroundTerminalsListResponse",
    "ThreadBackgroundTerminalsTerminateParams",
    "ThreadBackgroundTerminalsTerminateResponse",
    "ThreadCompactStartParams",
    "ThreadCompactStartResponse",
    "ThreadGoal",
    "ThreadGoalClearParams",
    "ThreadGoalClearResponse",
    "ThreadGoalGetParams",
    "ThreadGoalGetResponse",
    "ThreadGoalSetParams",
    "ThreadGoalSetResponse",
    "ThreadGoalStatus",
    "ThreadGoalUpdatedNotification",
    "ThreadInjectItemsParams",
    "ThreadInjectItemsResponse",
    "ThreadSettings",
    "ThreadSettingsUpdateParams",
    "ThreadSettingsUpdateResponse",
    "ThreadSettingsUpdatedNotification",
    "ThreadShellCommandParams",
    "ThreadShellCommandResponse",
]

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Limit = Unsigned32


class ThreadCompactStartParams(Params, kw_only=True):
    thread_id: str


class ThreadCompactStartResponse(Wire, kw_only=True):
    pass


class ContextCompactedNotification(Wire, kw_only=True):
    """`thread/compacted`: an older way to tell of a `contextCompaction` item."""

    thread_id: str
    turn_id: str


class ThreadInjectItemsParams(Params, kw_only=True):
    """`items`: in Responses form, added to what the model is sent."""

    thread_id: str
    items: list[Any]


class ThreadInjectItemsResponse(Wire, kw_only=True):
    pass


class ThreadShellCommandParams(Params, kw_only=True):
    """A command of the user's own: it runs without a sandbox, and nobody is asked."""

    thread_id: str
    command: str
    timeout_ms: Milliseconds | None = None


class ThreadShellCommandResponse(Wire, kw_only=True):
    pass


# --- settings ------------------------------------------------------------------------------------


class ThreadSettings(Wire, kw_only=True):
    """What holds for the thread's next turns."""

    disabled_plugin_ids: list[str] = []
    cwd: str
    environments: list[Environment] | None = None
    approval_policy: ApprovalPolicy
    approvals_reviewer: ApprovalsReviewer = "user"
    sandbox_policy: SandboxPolicy
    active_permission_profile: PermissionProfile | None = None
    model: str
    model_provider: str
    service_tier: str | None = None
    effort: str | None = None
    summary: Literal["auto", "concise", "detailed", "none"] | None = None
    collaboration_mode: CollaborationMode
    multi_agent_mode: str = "explicitRequestOnly"
    personality: Personality | None = None


class ThreadSettingsUpdateParams(TurnOverrides, kw_only=True):
    """The overrides of a turn/start, without a turn."""

    thread_id: str


class ThreadSettingsUpdateResponse(Wire, kw_only=True):
    pass


class ThreadSettingsUpdatedNotification(Wire, kw_only=True):
    thread_id: str
    thread_settings: ThreadSettings


# --- goals ---------------------------------------------------------------------------------------

ThreadGoalStatus = Literal["active", "paused", "blocked", "usageLimited", "budgetLimited", "complete"]
Origin = Literal["user", "automatic"]


class ThreadGoal(Wire, kw_only=True):
    """What a thread works towards, over many turns. `*_at` in unix seconds."""

    thread_id: str
    objective: str
    status: ThreadGoalStatus
    token_budget: int | None = None
    tokens_used: int = 0
    time_used_seconds: int = 0
    created_at: int
    updated_at: int


class ThreadGoalSetParams(Params, kw_only=True):
    """A new objective makes a new goal; without one the existing goal is changed."""

    thread_id: str
    objective: str | None = None
    status: ThreadGoalStatus | None = None
    token_budget: int | Absent | None = UNSET
    origin: Origin | None = None


class ThreadGoalSetResponse(Wire, kw_only=True):
    goal: ThreadGoal


class ThreadGoalGetParams(Params, kw_only=True):
    thread_id: str


class ThreadGoalGetResponse(Wire, kw_only=True):
    goal: ThreadGoal | None = None


class ThreadGoalClearParams(Params, kw_only=True):
    thread_id: str
    origin: Origin | None = None


class ThreadGoalClearResponse(Wire, kw_only=True):
    cleared: bool


class ThreadGoalUpdatedNotification(Wire, kw_only=True):
    """`turn_id`: of the turn that changed it, null when a client did."""

    thread_id: str
    turn_id: str | None = None
    goal: ThreadGoal


# --- background terminals ------------------------------------------------------------------------


class ThreadBackgroundTerminal(Wire, kw_only=True):
    """A command that still runs. `process_id`: the number the model knows it by."""

    item_id: str
    process_id: str
    command: str
    cwd: str
    os_pid: int | None = None
    cpu_percent: float | None = None
    rss_kb: int | None = None


class ThreadBackgroundTerminalsListParams(Params, kw_only=True):
    thread_id: str
    cursor: str | None = None
    limit: Limit | None = None


class ThreadBackgroundTerminalsListResponse(Wire, kw_only=True):
    data: list[ThreadBackgroundTerminal]
    next_cursor: str | None = None


class ThreadBackgroundTerminalsCleanParams(Params, kw_only=True):
    thread_id: str


class ThreadBackgroundTerminalsCleanResponse(Wire, kw_only=True):
    pass


class ThreadBackgroundTerminalsTerminateParams(Params, kw_only=True):
    thread_id: str
    process_id: str


class ThreadBackgroundTerminalsTerminateResponse(Wire, kw_only=True):
    terminated: bool
