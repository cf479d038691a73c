"""Threads and the requests about them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import UNSET, Absent, Params, Wire
from protocol.client_tools import DynamicTool
from protocol.history import InitialTurnsPage, TurnsPage
from protocol.policy import ApprovalPolicy, SandboxMode, SandboxPolicy
from protocol.receipts import ThreadReadState
from protocol.turns import CollaborationMode, Turn

__all__ = [
    "ActiveStatus",
    "GitInfo",
    "HistoryMode",
    "IdleStatus",
    "NotLoadedStatus",
    "SystemErrorStatus",
    "Thread",
    "ThreadArchiveParams",
    "ThreadArchiveResponse",
    "ThreadDeleteParams",
    "ThreadDeleteResponse",
    "ThreadMetadataGitInfoUpdateParams",
    "ThreadMetadataUpdateParams",
    "ThreadMetadataUpdateResponse",
    "ThreadOpening",
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
    "ThreadUnsubscribeParams",
    "ThreadUnsubscribeResponse",
]

ApprovalsReviewer = Literal["user", "auto_review", "guardian_subagent"]
MultiAgentMode = Literal["none", "custom", "explicitRequestOnly", "proactive"]
Personality = Literal["none", "friendly", "pragmatic"]
HistoryMode = Literal["legacy", "paginated"]


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
    history_mode: HistoryMode = "paginated"
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


class ThreadOpening(Params, kw_only=True):
    """What a start, a resume and a fork may say about the thread; what is left out comes from the configuration."""

    approval_policy: ApprovalPolicy | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    base_instructions: str | None = None
    config: dict[str, Any] | None = None
    cwd: str | None = None
    developer_instructions: str | None = None
    model: str | None = None
    model_provider: str | None = None
    permissions: str | None = None
    runtime_workspace_roots: list[str] | None = None
    sandbox: SandboxMode | None = None
    service_tier: str | None = None


class ThreadStartParams(ThreadOpening, kw_only=True):
    """`environments`, `dynamic_tools` and the capability roots are those of the peer's own hosts."""

    allow_provider_model_fallback: bool = False
    daybreak_enabled: bool | None = None
    dynamic_tools: list[DynamicTool] | None = None
    """Tools that the client runs: see `item/tool/call`."""
    environments: list[Any] | None = None
    ephemeral: bool | None = None
    experimental_raw_events: bool = False
    history_mode: HistoryMode | None = None
    mock_experimental_field: str | None = None
    multi_agent_mode: MultiAgentMode | None = None
    personality: Personality | None = None
    project_id: str | None = None
    selected_capability_roots: list[Any] | None = None
    service_name: str | None = None
    session_start_source: Literal["startup", "clear"] | None = None
    thread_source: str | None = None

    @classmethod
    def modern(cls, params: msgspec.Raw) -> bytes | msgspec.Raw:
        """A tool of the client's without a `type` is a function, as it was when there was nothing else."""
        if b'"dynamicTools"' not in bytes(params):
            return params
        given = msgspec.json.decode(params)
        tools = given.get("dynamicTools") if isinstance(given, dict) else None
        if not isinstance(tools, list):
            return params
        for tool in tools:
            if isinstance(tool, dict):
                tool.setdefault("type", "function")
        return msgspec.json.encode(given)


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


class ThreadResumeParams(ThreadOpening, kw_only=True):
    """`history`: model items to begin a new thread with. `path`: the rollout, which then counts and not the id."""

    thread_id: str
    exclude_turns: bool = False
    history: list[msgspec.Raw] | None = None
    initial_turns_page: InitialTurnsPage | None = None
    path: str | None = None
    personality: Personality | None = None


class ThreadResumeResponse(ThreadStartResponse, kw_only=True):
    collaboration_mode: CollaborationMode | None = None
    initial_turns_page: TurnsPage | None = None
    turns_backwards_cursor: str | None = None
    items_backwards_cursor: str | None = None


class ThreadReadParams(Params, kw_only=True):
    thread_id: str
    include_turns: bool = False


class ThreadReadResponse(Wire, kw_only=True):
    thread: Thread
    read_state: ThreadReadState | None = None


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


class ThreadDeleteParams(Params, kw_only=True):
    thread_id: str


class ThreadDeleteResponse(Wire, kw_only=True):
    pass


class ThreadUnsubscribeParams(Params, kw_only=True):
    thread_id: str


class ThreadUnsubscribeResponse(Wire, kw_only=True):
    status: Literal["notLoaded", "notSubscribed", "unsubscribed"]


class ThreadMetadataGitInfoUpdateParams(Params, kw_only=True):
    """What is not set stays as it is, null takes it away."""

    sha: str | Absent | None = UNSET
    branch: str | Absent | None = UNSET
    origin_url: str | Absent | None = UNSET


class ThreadMetadataUpdateParams(Params, kw_only=True):
    thread_id: str
    daybreak_enabled: bool | None = None
    git_info: ThreadMetadataGitInfoUpdateParams | None = None
    project_id: str | None = None


class ThreadMetadataUpdateResponse(Wire, kw_only=True):
    thread: Thread
