"""What the old protocol says by itself: events of a conversation, and two questions."""

from __future__ import annotations

from typing import Any, Literal

from protocol.base import Params, Wire

__all__ = [
    "ApplyPatchApprovalParams",
    "AuthStatusChange",
    "CodexEvent",
    "ExecCommandApprovalParams",
    "LoginChatGptComplete",
    "ReviewDecision",
    "SessionConfigured",
]


class CodexEvent(Wire, kw_only=True):
    """The params of `codex/event/TYPE`. `id` counts what the client has submitted to the conversation."""

    id: str
    msg: dict[str, Any]
    conversation_id: str


class SessionConfigured(Wire, kw_only=True):
    session_id: str
    model: str
    reasoning_effort: str | None = None
    history_log_id: int = 0
    history_entry_count: int = 0
    initial_messages: list[Any] | None = None
    rollout_path: str


class AuthStatusChange(Wire, kw_only=True):
    auth_method: str | None = None


class LoginChatGptComplete(Wire, kw_only=True):
    login_id: str
    success: bool
    error: str | None = None


class ExecCommandApprovalParams(Wire, kw_only=True):
    conversation_id: str
    call_id: str
    command: list[str]
    cwd: str
    reason: str | None = None
    risk: None = None
    parsed_cmd: list[Any]


class ApplyPatchApprovalParams(Wire, kw_only=True):
    conversation_id: str
    call_id: str
    file_changes: dict[str, Any]
    reason: str | None = None
    grant_root: str | None = None


class ReviewDecision(Params, kw_only=True):
    """The answer to either question."""

    decision: Literal["approved", "approved_for_session", "denied", "abort"]
