"""Turns, their errors and their requests."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import UNSET, Absent, Params, Wire
from protocol.items import ThreadItem
from protocol.policy import ApprovalPolicy, SandboxPolicy
from protocol.user_input import UserInput

__all__ = [
    "CodexErrorInfo",
    "CollaborationMode",
    "ModeSettings",
    "Turn",
    "TurnError",
    "TurnInterruptParams",
    "TurnInterruptResponse",
    "TurnOverrides",
    "TurnStartParams",
    "TurnStartResponse",
    "TurnStatus",
    "TurnSteerParams",
    "TurnSteerResponse",
]

TurnStatus = Literal["completed", "interrupted", "failed", "inProgress"]
ItemsView = Literal["notLoaded", "summary", "full"]

CodexErrorInfo = str | dict[str, Any]
"""Either a word (`"usageLimitExceeded"`) or one key with details (`{"httpConnectionFailed": {"httpStatusCode": 401}}`)."""


class TurnError(Wire, kw_only=True):
    message: str
    codex_error_info: CodexErrorInfo | None = None
    additional_details: str | None = None
    misalignment: Any = None


class Turn(Wire, kw_only=True):
    """`started_at` and `completed_at` in unix seconds, `duration_ms` in milliseconds."""

    id: str
    root_turn_id: str | None = None
    items: list[ThreadItem] = []
    items_view: ItemsView = "notLoaded"
    status: TurnStatus
    error: TurnError | None = None
    started_at: int | None = None
    completed_at: int | None = None
    duration_ms: int | None = None


class ModeSettings(msgspec.Struct, kw_only=True):
    """In snake_case, also on the wire."""

    model: str
    reasoning_effort: str | None = None
    developer_instructions: str | None = None


class CollaborationMode(msgspec.Struct, kw_only=True):
    mode: Literal["default", "plan"]
    settings: ModeSettings


class TurnOverrides(Params, kw_only=True):
    """Settings of a thread that a turn may change."""

    approval_policy: ApprovalPolicy | None = None
    approvals_reviewer: Literal["user", "auto_review", "guardian_subagent"] | None = None
    collaboration_mode: CollaborationMode | None = None
    cwd: str | None = None
    disabled_plugin_ids: list[str] | None = None
    effort: str | None = None
    model: str | None = None
    permissions: str | None = None
    personality: Literal["none", "friendly", "pragmatic"] | None = None
    sandbox_policy: SandboxPolicy | None = None
    service_tier: str | Absent | None = UNSET
    """Null means the provider's default."""
    summary: Literal["auto", "concise", "detailed", "none"] | None = None


class TurnStartParams(TurnOverrides, kw_only=True):
    """Overrides given here hold for the later turns of the thread too."""

    thread_id: str
    input: list[UserInput]
    client_user_message_id: str | None = None
    output_schema: Any = None
    root_turn_id: str | None = None
    """Of another thread's turn, for which this one works."""
    parent_turn_id: str | None = None
    turn_trigger: str | None = None
    service_tier_for_turn: str | None = None
    """For this turn alone."""


class TurnStartResponse(Wire, kw_only=True):
    turn: Turn


class TurnInterruptParams(Params, kw_only=True):
    thread_id: str
    turn_id: str


class TurnInterruptResponse(Wire, kw_only=True):
    pass


class TurnSteerParams(Params, kw_only=True):
    thread_id: str
    expected_turn_id: str
    input: list[UserInput]
    client_user_message_id: str | None = None


class TurnSteerResponse(Wire, kw_only=True):
    turn_id: str
