"""Threads and the requests about them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import Params, Wire
from protocol.policy import ApprovalPolicy, SandboxMode, SandboxPolicy
from protocol.turns import CollaborationMode, Turn

__all__ = [
    "ActiveStatus",
    "GitInfo",
    "IdleStatus",
    "NotLoadedStatus",
    "SystemErrorStatus",
    "Thread",
    "ThreadArchiveParams",
    "ThreadArchiveResponse",
    "ThreadListParams",
    "ThreadListResponse",
    "ThreadLoadedListParams",
    "ThreadLoadedListResponse",
    "ThreadReadParams",
    "ThreadReadResponse",
    "ThreadResumeParams",
    "ThreadResumeResponse",
    "ThreadSetNameParams",
    "ThreadSetNameResponse",
    "ThreadStartParams",
    "ThreadStartResponse",
    "ThreadStatus",
    "ThreadUnarchiveParams",
    "ThreadUnarchiveResponse",
]

ApprovalsReviewer = Literal["user", "auto_review", "guardian_subagent"]
ThreadSourceKind = Literal[
    "cli",
    "vscode",
    "exec",
    "appServer",
    "subAgent",
    "subAgentReview",
    "subAgentCompact",
    "subAgentThreadSpawn",
    "subAgentOther",
    "unknown",
]
Personality = Literal["none", "friendly", "pragmatic"]


class NotLoadedStatus(Wire, kw_only=True, tag_field="type", tag="notLoaded"):
    pass


class IdleStatus(Wire, kw_only=True, tag_field="type", tag="idle"):
    pass


class SystemErrorStatus(Wire, kw_only=True, tag_field="type", tag="systemError"):
    pass


class ActiveStatus(Wire, kw_only=True, tag_field="type", tag="active"):
    active_flags: list[Literal["waitingOnApproval", "waitingOnUserInput"]] = []


ThreadStatus = NotLoadedStatus | IdleStatus | SystemErrorStatus | ActiveStatus


class GitInfo(Wire, kw_only=True):
    sha: str | None = None
    branch: str | None = None
    origin_url: str | None = None


class Environment(Wire, kw_only=True):
    environment_id: str
    cwd: str
    runtime_workspace_roots: list[str]


class Thread(Wire, kw_only=True):
    """`*_at` in unix seconds; `path` is the rollout, null for an ephemeral thread."""

    id: str
    environments: list[Environment] | None = None
    extra: Any = None
    session_id: str
    forked_from_id: str | None = None
    attached_to_thread_id: str | None = None
    parent_thread_id: str | None = None
    preview: str = ""
    ephemeral: bool = False
    section: Any = None
    section_entered_at: int | None = None
    project_id: str | None = None
    history_mode: Literal["legacy", "paginated"] = "paginated"
    model_provider: str
    model: str | None = None
    reasoning_effort: str | None = None
    created_at: int
    updated_at: int
    recency_at: int | None = None
    status: ThreadStatus
    path: str | None = None
    cwd: str
    cli_version: str
    originator: str | None = None
    source: Any = "vscode"
    can_accept_direct_input: bool | None = None
    thread_source: str | None = None
    agent_nickname: str | None = None
    agent_role: str | None = None
    git_info: GitInfo | None = None
    name: str | None = None
    daybreak_enabled: bool | None = None
    turns: list[Turn] = []


class PermissionProfile(Wire, kw_only=True):
    id: str
    extends: str | None = None


# --- requests ------------------------------------------------------------------------------------


class ThreadStartParams(Params, kw_only=True):
    approval_policy: ApprovalPolicy | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    base_instructions: str | None = None
    config: dict[str, Any] | None = None
    cwd: str | None = None
    developer_instructions: str | None = None
    ephemeral: bool | None = None
    model: str | None = None
    model_provider: str | None = None
    personality: Personality | None = None
    sandbox: SandboxMode | None = None
    service_name: str | None = None
    service_tier: str | None = None
    thread_source: str | None = None


class ThreadStartResponse(Wire, kw_only=True):
    thread: Thread
    model: str
    model_provider: str
    service_tier: str | None = None
    disabled_plugin_ids: list[str] = []
    cwd: str
    runtime_workspace_roots: list[str]
    instruction_sources: list[str] = []
    approval_policy: ApprovalPolicy
    approvals_reviewer: ApprovalsReviewer = "user"
    sandbox: SandboxPolicy
    active_permission_profile: PermissionProfile | None = None
    reasoning_effort: str | None = None
    multi_agent_mode: str = "explicitRequestOnly"


class ThreadResumeParams(Params, kw_only=True):
    thread_id: str
    approval_policy: ApprovalPolicy | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    base_instructions: str | None = None
    config: dict[str, Any] | None = None
    cwd: str | None = None
    developer_instructions: str | None = None
    exclude_turns: bool = False
    model: str | None = None
    model_provider: str | None = None
    personality: Personality | None = None
    sandbox: SandboxMode | None = None
    service_tier: str | None = None


class ThreadResumeResponse(ThreadStartResponse, kw_only=True):
    collaboration_mode: CollaborationMode | None = None
    initial_turns_page: Any = None
    turns_backwards_cursor: str | None = None
    items_backwards_cursor: str | None = None


class ThreadReadParams(Params, kw_only=True):
    thread_id: str
    include_turns: bool = False


class ThreadReadResponse(Wire, kw_only=True):
    thread: Thread
    read_state: Any = None


class ThreadListParams(Params, kw_only=True):
    archived: bool | None = None
    cursor: str | None = None
    cwd: str | list[str] | None = None
    excluded_thread_ids: list[str] | None = None
    limit: int | None = None
    model_providers: list[str] | None = None
    originators: list[str] | None = None
    search_term: str | None = None
    section_id: str | None = None
    sort_direction: Literal["asc", "desc"] | None = None
    sort_key: Literal["created_at", "updated_at", "recency_at", "section_position"] | None = None
    source_kinds: list[ThreadSourceKind] | None = None
    use_state_db_only: bool = False


class ThreadListResponse(Wire, kw_only=True):
    data: list[Thread]
    read_states: dict[str, Any] = {}
    next_cursor: str | None = None
    backwards_cursor: str | None = None


class ThreadLoadedListParams(Params, kw_only=True):
    cursor: str | None = None
    limit: int | None = None


class ThreadLoadedListResponse(Wire, kw_only=True):
    data: list[str]
    next_cursor: str | None = None


class ThreadArchiveParams(Params, kw_only=True):
    thread_id: str


class ThreadArchiveResponse(Wire, kw_only=True):
    pass


class ThreadUnarchiveParams(Params, kw_only=True):
    thread_id: str


class ThreadUnarchiveResponse(Wire, kw_only=True):
    thread: Thread


class ThreadSetNameParams(Params, kw_only=True):
    thread_id: str
    name: str


class ThreadSetNameResponse(Wire, kw_only=True):
    pass


def status_line(status: ThreadStatus) -> bytes:
    return msgspec.json.encode(status)
