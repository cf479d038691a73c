"""What the server says unasked, and what it asks: params of notifications and of server requests."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import UNSET, Absent, Params, Wire
from protocol.command_actions import CommandAction
from protocol.file_changes import FileUpdateChange
from protocol.items import ThreadItem
from protocol.permissions import RequestPermissionProfile
from protocol.threads import Thread, ThreadStatus
from protocol.turns import Turn, TurnError

# --- threads and turns ----------------------------------------------------------------------------


class ThreadStarted(Wire, kw_only=True):
    thread: Thread


class ThreadStatusChanged(Wire, kw_only=True):
    thread_id: str
    status: ThreadStatus


class ThreadNamed(Wire, kw_only=True):
    thread_id: str
    thread_name: str | None


class ThreadReference(Wire, kw_only=True):
    """`thread/archived`, `thread/unarchived`, `thread/closed`, `thread/goal/cleared`."""

    thread_id: str


class TokenUsage(Wire, kw_only=True):
    total_tokens: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


class ThreadTokenUsage(Wire, kw_only=True):
    total: TokenUsage
    last: TokenUsage
    model_context_window: int | None = None


class TokenUsageUpdated(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    token_usage: ThreadTokenUsage


class TurnNotice(Wire, kw_only=True):
    """`turn/started` and `turn/completed`."""

    thread_id: str
    turn: Turn


class TurnDiffUpdated(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    diff: str


class PlanStep(Wire, kw_only=True):
    step: str
    status: Literal["pending", "inProgress", "completed"]


class TurnPlanUpdated(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    explanation: str | None = None
    plan: list[PlanStep]


class ModelReroutedNotification(Wire, kw_only=True):
    """The provider answered with another model than the one that was asked for."""

    thread_id: str
    turn_id: str
    from_model: str
    to_model: str
    reason: Literal["highRiskCyberActivity"]


class ErrorNotice(Wire, kw_only=True):
    error: TurnError
    will_retry: bool
    thread_id: str
    turn_id: str


# --- items ------------------------------------------------------------------------------------------


class ItemStarted(Wire, kw_only=True):
    item: ThreadItem
    thread_id: str
    turn_id: str
    started_at_ms: int


class ItemCompleted(Wire, kw_only=True):
    item: ThreadItem
    thread_id: str
    turn_id: str
    content_token_count: int | None = None
    completed_at_ms: int


class ItemDelta(Wire, kw_only=True):
    """`item/agentMessage/delta`, `item/commandExecution/outputDelta`, `item/plan/delta`."""

    thread_id: str
    turn_id: str
    item_id: str
    delta: str


class SummaryPartAdded(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    summary_index: int


class SummaryTextDelta(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    delta: str
    summary_index: int


class ReasoningTextDelta(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    delta: str
    content_index: int


class TerminalInteraction(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    process_id: str
    stdin: str


class PatchUpdated(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    changes: list[FileUpdateChange]


# --- the rest ---------------------------------------------------------------------------------------


class RateLimitsUpdated(Wire, kw_only=True):
    rate_limits: dict[str, Any]


class DeprecationNotice(Wire, kw_only=True):
    summary: str
    details: str | None = None


class Warned(Wire, kw_only=True):
    thread_id: str | None = None
    message: str


class ConfigWarning(Wire, kw_only=True):
    """`path`: of the file, where it is about one place only."""

    summary: str
    details: str | None = None
    path: str | Absent = UNSET


class RemoteControlStatus(Wire, kw_only=True):
    status: Literal["disabled"] = "disabled"
    server_name: str
    installation_id: str
    environment_id: str | None = None


class RequestResolved(Wire, kw_only=True):
    thread_id: str
    request_id: int


# --- server requests ----------------------------------------------------------------------------------


class Amendment(msgspec.Struct, kw_only=True):
    """A prefix rule to add to the policy; in snake_case on the wire."""

    execpolicy_amendment: list[str]


class AcceptWithAmendment(msgspec.Struct, kw_only=True):
    acceptWithExecpolicyAmendment: Amendment


CommandDecision = Literal["accept", "acceptForSession", "decline", "cancel"] | AcceptWithAmendment
FileDecision = Literal["accept", "acceptForSession", "decline", "cancel"]


class CommandApprovalParams(Wire, kw_only=True):
    """Absent options are left out here, unlike everywhere else."""

    kind: Literal["command"] = "command"
    thread_id: str
    turn_id: str
    item_id: str
    started_at_ms: int
    environment_id: str | Absent = UNSET
    approval_id: str | Absent = UNSET
    reason: str | Absent = UNSET
    command: str | Absent = UNSET
    cwd: str | Absent = UNSET
    command_actions: list[CommandAction] | Absent = UNSET
    additional_permissions: RequestPermissionProfile | Absent = UNSET
    proposed_execpolicy_amendment: list[str] | Absent = UNSET
    available_decisions: list[CommandDecision] | Absent = UNSET


class CommandApprovalResponse(Params, kw_only=True):
    decision: CommandDecision


class FileChangeApprovalParams(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    started_at_ms: int
    reason: str | None = None
    grant_root: str | None = None


class FileChangeApprovalResponse(Params, kw_only=True):
    decision: FileDecision
