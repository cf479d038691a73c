"""The table of methods: one row each.

Routing, ordering, validation, the list in the error for an unknown method, the exported schema, the reference page
and the conformance tests derive from these rows; nothing else lists methods.

*Owner* says who answers: the front itself, the worker of the thread, the catalog (a worker that owns no thread, so that
a huge or poisoned stored thread cannot touch the front), or the connection's host worker (commands, files, searches
without a thread).

*Order* says what a request waits for:

- `CONNECTION`: the requests before it on the same connection (the handshake);
- `THREAD`: earlier requests for the same thread, which is named by the member `threadId`;
- `ACCOUNT`: earlier requests of this order: a login is done before somebody asks who is logged in;
- `CONFIG`: earlier requests of this order: what is written last holds, and a read has seen what was written before;
- `NEW_THREAD`: nothing; the front makes the id;
- `NONE`: nothing.

Requests for one thread reach its worker in the order in which they came; the worker takes them one by one.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from protocol import (
    accounts,
    command_exec,
    configuration,
    feedback,
    file_search,
    files,
    forks,
    git,
    history,
    hooks,
    inventory,
    mcp,
    models,
    notifications,
    permissions,
    providers,
    receipts,
    session,
    skills,
    thread_list,
    threads,
    turns,
)
from protocol import client_tools as _t
from protocol import control as _c
from protocol import review as _r
from protocol.base import NoParams

__all__ = [
    "METHODS",
    "NOTIFICATIONS",
    "SERVER_REQUESTS",
    "Method",
    "Notification",
    "Order",
    "Owner",
    "ServerRequest",
]


class Owner(Enum):
    FRONT = "front"
    WORKER = "worker"
    CATALOG = "catalog"
    HOST = "host"


class Order(Enum):
    CONNECTION = "connection"
    THREAD = "thread"
    ACCOUNT = "account"
    CONFIG = "configuration"
    NEW_THREAD = "new thread"
    NONE = "none"


class Method(msgspec.Struct, frozen=True):
    name: str
    params: type[msgspec.Struct]
    result: type[msgspec.Struct]
    owner: Owner
    order: Order
    experimental: bool = False
    hazardous: bool = False
    """Runs or changes what the client names on this machine: no test may make such params up."""
    stored: bool = False
    """Of a worker's methods: the catalog answers while the thread is not loaded."""
    once: bool = False
    """Of a worker's methods: has effects that nobody could undo. If the worker dies meanwhile it is not asked again."""
    without_thread: bool = False
    """Of a worker's methods: `threadId` may be absent; then the connection's host worker answers."""


class Notification(msgspec.Struct, frozen=True):
    name: str
    params: type[msgspec.Struct]
    experimental: bool = False
    """Sent only to clients that asked for the experimental interface."""


class ServerRequest(msgspec.Struct, frozen=True):
    name: str
    params: type[msgspec.Struct]
    result: type[msgspec.Struct]
    experimental: bool = False


_FRONT, _WORKER, _CATALOG, _HOST = Owner.FRONT, Owner.WORKER, Owner.CATALOG, Owner.HOST
_THREAD, _NONE, _ACCOUNT, _CONFIG = Order.THREAD, Order.NONE, Order.ACCOUNT, Order.CONFIG


def _on_thread(
    name: str, params: type[msgspec.Struct], result: type[msgspec.Struct], *, experimental: bool = False
) -> Method:
    """The worker of a loaded thread answers, in the order of the thread's requests."""
    return Method(name, params, result, _WORKER, _THREAD, experimental)


_METHODS = (
    Method("initialize", session.InitializeParams, session.InitializeResponse, _FRONT, Order.CONNECTION),
    # threads
    Method("thread/start", threads.ThreadStartParams, threads.ThreadStartResponse, _WORKER, Order.NEW_THREAD),
    Method("thread/resume", threads.ThreadResumeParams, threads.ThreadResumeResponse, _WORKER, _THREAD),
    Method("thread/fork", forks.ThreadForkParams, forks.ThreadForkResponse, _WORKER, Order.NEW_THREAD),
    Method("thread/revert", forks.ThreadRevertParams, forks.ThreadRevertResponse, _WORKER, _THREAD),
    Method("thread/delete", threads.ThreadDeleteParams, threads.ThreadDeleteResponse, _FRONT, _THREAD),
    Method(
        "thread/read", threads.ThreadReadParams, threads.ThreadReadResponse, _WORKER, _THREAD, stored=True
    ),
    Method(
        "thread/turns/list",
        history.ThreadTurnsListParams,
        history.ThreadTurnsListResponse,
        _WORKER,
        _THREAD,
        stored=True,
    ),
    Method(
        "thread/items/list",
        history.ThreadItemsListParams,
        history.ThreadItemsListResponse,
        _WORKER,
        _THREAD,
        stored=True,
    ),
    Method(
        "thread/items/read",
        history.ThreadItemsReadParams,
        history.ThreadItemsReadResponse,
        _WORKER,
        _THREAD,
        experimental=True,
        stored=True,
    ),
    Method("thread/list", thread_list.ThreadListParams, thread_list.ThreadListResponse, _CATALOG, _NONE),
    Method(
        "thread/search",
        thread_list.ThreadSearchParams,
        thread_list.ThreadSearchResponse,
        _CATALOG,
        _NONE,
        experimental=True,
    ),
    Method(
        "thread/loaded/list",
        thread_list.ThreadLoadedListParams,
        thread_list.ThreadLoadedListResponse,
        _FRONT,
        _NONE,
    ),
    Method(
        "thread/unsubscribe",
        threads.ThreadUnsubscribeParams,
        threads.ThreadUnsubscribeResponse,
        _FRONT,
        _THREAD,
    ),
    Method(
        "thread/metadata/update",
        threads.ThreadMetadataUpdateParams,
        threads.ThreadMetadataUpdateResponse,
        _FRONT,
        _THREAD,
    ),
    Method("thread/archive", threads.ThreadArchiveParams, threads.ThreadArchiveResponse, _FRONT, _THREAD),
    Method(
        "thread/unarchive", threads.ThreadUnarchiveParams, threads.ThreadUnarchiveResponse, _FRONT, _THREAD
    ),
    Method("thread/name/set", threads.ThreadSetNameParams, threads.ThreadSetNameResponse, _FRONT, _THREAD),
    Method(
        "thread/readState/update",
        receipts.ThreadReadStateUpdateParams,
        receipts.ThreadReadStateUpdateResponse,
        _WORKER,
        _THREAD,
        experimental=True,
        stored=True,
    ),
    # turns
    Method("turn/start", turns.TurnStartParams, turns.TurnStartResponse, _WORKER, _THREAD),
    Method("turn/steer", turns.TurnSteerParams, turns.TurnSteerResponse, _WORKER, _THREAD),
    Method("turn/interrupt", turns.TurnInterruptParams, turns.TurnInterruptResponse, _WORKER, _THREAD),
    Method("review/start", _r.ReviewStartParams, _r.ReviewStartResponse, _WORKER, _THREAD),
    # around the turns of a loaded thread
    _on_thread("thread/compact/start", _c.ThreadCompactStartParams, _c.ThreadCompactStartResponse),
    _on_thread("thread/inject_items", _c.ThreadInjectItemsParams, _c.ThreadInjectItemsResponse),
    _on_thread("thread/shellCommand", _c.ThreadShellCommandParams, _c.ThreadShellCommandResponse),
    _on_thread("thread/goal/set", _c.ThreadGoalSetParams, _c.ThreadGoalSetResponse),
    _on_thread("thread/goal/get", _c.ThreadGoalGetParams, _c.ThreadGoalGetResponse),
    _on_thread("thread/goal/clear", _c.ThreadGoalClearParams, _c.ThreadGoalClearResponse),
    _on_thread(
        "thread/settings/update",
        _c.ThreadSettingsUpdateParams,
        _c.ThreadSettingsUpdateResponse,
        experimental=True,
    ),
    _on_thread(
        "thread/backgroundTerminals/list",
        _c.ThreadBackgroundTerminalsListParams,
        _c.ThreadBackgroundTerminalsListResponse,
        experimental=True,
    ),
    _on_thread(
        "thread/backgroundTerminals/clean",
        _c.ThreadBackgroundTerminalsCleanParams,
        _c.ThreadBackgroundTerminalsCleanResponse,
        experimental=True,
    ),
    _on_thread(
        "thread/backgroundTerminals/terminate",
        _c.ThreadBackgroundTerminalsTerminateParams,
        _c.ThreadBackgroundTerminalsTerminateResponse,
        experimental=True,
    ),
    # configuration
    Method(
        "config/read", configuration.ConfigReadParams, configuration.ConfigReadResponse, _CATALOG, _CONFIG
    ),
    Method(
        "config/value/write",
        configuration.ConfigValueWriteParams,
        configuration.ConfigWriteResponse,
        _CATALOG,
        _CONFIG,
    ),
    Method(
        "config/batchWrite",
        configuration.ConfigBatchWriteParams,
        configuration.ConfigWriteResponse,
        _CATALOG,
        _CONFIG,
    ),
    Method(
        "configRequirements/read", NoParams, configuration.ConfigRequirementsReadResponse, _CATALOG, _NONE
    ),
    # the machine, without a thread
    Method(
        "command/exec",
        command_exec.CommandExecParams,
        command_exec.CommandExecResponse,
        _HOST,
        _NONE,
        hazardous=True,
    ),
    Method(
        "command/exec/write",
        command_exec.CommandExecWriteParams,
        command_exec.CommandExecWriteResponse,
        _HOST,
        _NONE,
    ),
    Method(
        "command/exec/resize",
        command_exec.CommandExecResizeParams,
        command_exec.CommandExecResizeResponse,
        _HOST,
        _NONE,
    ),
    Method(
        "command/exec/terminate",
        command_exec.CommandExecTerminateParams,
        command_exec.CommandExecTerminateResponse,
        _HOST,
        _NONE,
    ),
    Method("fs/readFile", files.FsReadFileParams, files.FsReadFileResponse, _HOST, _NONE),
    Method("fs/writeFile", files.FsWriteFileParams, files.FsWriteFileResponse, _HOST, _NONE, hazardous=True),
    Method(
        "fs/createDirectory",
        files.FsCreateDirectoryParams,
        files.FsCreateDirectoryResponse,
        _HOST,
        _NONE,
        hazardous=True,
    ),
    Method("fs/getMetadata", files.FsGetMetadataParams, files.FsGetMetadataResponse, _HOST, _NONE),
    Method("fs/readDirectory", files.FsReadDirectoryParams, files.FsReadDirectoryResponse, _HOST, _NONE),
    Method("fs/remove", files.FsRemoveParams, files.FsRemoveResponse, _HOST, _NONE, hazardous=True),
    Method("fs/copy", files.FsCopyParams, files.FsCopyResponse, _HOST, _NONE, hazardous=True),
    Method("fs/watch", files.FsWatchParams, files.FsWatchResponse, _HOST, _NONE),
    Method("fs/unwatch", files.FsUnwatchParams, files.FsUnwatchResponse, _HOST, _NONE),
    Method(
        "fuzzyFileSearch",
        file_search.FuzzyFileSearchParams,
        file_search.FuzzyFileSearchResponse,
        _HOST,
        _NONE,
    ),
    Method(
        "fuzzyFileSearch/sessionStart",
        file_search.FuzzyFileSearchSessionStartParams,
        file_search.FuzzyFileSearchSessionStartResponse,
        _HOST,
        _NONE,
        experimental=True,
    ),
    Method(
        "fuzzyFileSearch/sessionUpdate",
        file_search.FuzzyFileSearchSessionUpdateParams,
        file_search.FuzzyFileSearchSessionUpdateResponse,
        _HOST,
        _NONE,
        experimental=True,
    ),
    Method(
        "fuzzyFileSearch/sessionStop",
        file_search.FuzzyFileSearchSessionStopParams,
        file_search.FuzzyFileSearchSessionStopResponse,
        _HOST,
        _NONE,
        experimental=True,
    ),
    Method("gitDiffToRemote", git.GitDiffToRemoteParams, git.GitDiffToRemoteResponse, _HOST, _NONE),
    # accounts
    Method("account/read", accounts.ReadAccountParams, accounts.ReadAccountResponse, _FRONT, _ACCOUNT),
    Method(
        "account/login/start", accounts.LoginParams, accounts.LoginResponse, _FRONT, _ACCOUNT, hazardous=True
    ),
    Method("account/login/cancel", accounts.CancelLoginParams, accounts.CancelLoginResponse, _FRONT, _NONE),
    Method("account/logout", accounts.LogoutParams, accounts.LogoutResponse, _FRONT, _ACCOUNT),
    Method("account/rateLimits/read", accounts.RateLimitsParams, accounts.RateLimitsResponse, _FRONT, _NONE),
    Method("account/usage/read", accounts.UsageParams, accounts.UsageResponse, _FRONT, _NONE),
    Method("getAuthStatus", accounts.AuthStatusParams, accounts.AuthStatusResponse, _FRONT, _ACCOUNT),
    # what there is
    Method(
        "modelProvider/list",
        providers.ModelProviderListParams,
        providers.ModelProviderListResponse,
        _CATALOG,
        _NONE,
    ),
    Method(
        "modelProvider/capabilities/read",
        providers.ModelProviderCapabilitiesReadParams,
        providers.ModelProviderCapabilitiesReadResponse,
        _CATALOG,
        _NONE,
    ),
    Method(
        "experimentalFeature/list",
        inventory.ExperimentalFeatureListParams,
        inventory.ExperimentalFeatureListResponse,
        _CATALOG,
        _NONE,
    ),
    Method(
        "permissionProfile/list",
        inventory.PermissionProfileListParams,
        inventory.PermissionProfileListResponse,
        _CATALOG,
        _NONE,
    ),
    Method(
        "collaborationMode/list",
        inventory.CollaborationModeListParams,
        inventory.CollaborationModeListResponse,
        _CATALOG,
        _NONE,
        experimental=True,
    ),
    Method("hooks/list", inventory.HooksListParams, inventory.HooksListResponse, _CATALOG, _NONE),
    Method("feedback/upload", feedback.FeedbackUploadParams, feedback.FeedbackUploadResponse, _FRONT, _NONE),
    Method(
        "feedback/save",
        feedback.FeedbackSaveParams,
        feedback.FeedbackSaveResponse,
        _FRONT,
        _NONE,
        hazardous=True,
    ),
    Method("app/list", inventory.AppsListParams, inventory.AppsListResponse, _CATALOG, _NONE),
    Method("skills/list", skills.SkillsListParams, skills.SkillsListResponse, _CATALOG, _NONE),
    # MCP servers
    Method(
        "mcpServerStatus/list",
        mcp.ListMcpServerStatusParams,
        mcp.ListMcpServerStatusResponse,
        _WORKER,
        _THREAD,
        without_thread=True,
    ),
    Method(
        "mcpServer/resource/read",
        mcp.McpResourceReadParams,
        mcp.McpResourceReadResponse,
        _WORKER,
        _THREAD,
        without_thread=True,
    ),
    Method(
        "mcpServer/tool/call",
        mcp.McpServerToolCallParams,
        mcp.McpServerToolCallResponse,
        _WORKER,
        _THREAD,
        hazardous=True,
        once=True,
    ),
    Method("config/mcpServer/reload", NoParams, mcp.McpServerRefreshResponse, _FRONT, _NONE),
    Method(
        "mcpServer/oauth/login",
        mcp.McpServerOauthLoginParams,
        mcp.McpServerOauthLoginResponse,
        _FRONT,
        _NONE,
        hazardous=True,
    ),
    # the rest
    Method("model/list", models.ModelListParams, models.ModelListResponse, _FRONT, _NONE),
)

METHODS: dict[str, Method] = {row.name: row for row in _METHODS}

_n = notifications
_NOTIFICATIONS = (
    Notification("error", _n.ErrorNotice),
    Notification("warning", _n.Warned),
    Notification("configWarning", _n.ConfigWarning),
    Notification("deprecationNotice", _n.DeprecationNotice),
    Notification("remoteControl/status/changed", _n.RemoteControlStatus),
    Notification("account/updated", accounts.AccountUpdated),
    Notification("account/login/completed", accounts.LoginCompleted),
    Notification("account/rateLimits/updated", _n.RateLimitsUpdated),
    Notification("serverRequest/resolved", _n.RequestResolved),
    Notification("thread/started", _n.ThreadStarted),
    Notification("thread/status/changed", _n.ThreadStatusChanged),
    Notification("thread/name/updated", _n.ThreadNamed),
    Notification("thread/readState/changed", receipts.ThreadReadStateChanged, experimental=True),
    Notification("thread/archived", _n.ThreadReference),
    Notification("thread/deleted", _n.ThreadReference),
    Notification("thread/reverted", _n.ThreadReference),
    Notification("thread/unarchived", _n.ThreadReference),
    Notification("thread/closed", _n.ThreadReference),
    Notification("thread/goal/cleared", _n.ThreadReference),
    Notification("thread/goal/updated", _c.ThreadGoalUpdatedNotification),
    Notification("thread/compacted", _c.ContextCompactedNotification),
    Notification("thread/settings/updated", _c.ThreadSettingsUpdatedNotification, experimental=True),
    Notification("model/rerouted", _n.ModelReroutedNotification),
    Notification("thread/tokenUsage/updated", _n.TokenUsageUpdated),
    Notification("turn/started", _n.TurnNotice),
    Notification("turn/completed", _n.TurnNotice),
    Notification("hook/started", hooks.HookRun),
    Notification("hook/completed", hooks.HookRun),
    Notification("turn/diff/updated", _n.TurnDiffUpdated),
    Notification("turn/plan/updated", _n.TurnPlanUpdated),
    Notification("skills/changed", skills.SkillsChangedNotification),
    Notification("item/started", _n.ItemStarted),
    Notification("item/completed", _n.ItemCompleted),
    Notification("item/agentMessage/delta", _n.ItemDelta),
    Notification("item/plan/delta", _n.ItemDelta),
    Notification("item/reasoning/summaryPartAdded", _n.SummaryPartAdded),
    Notification("item/reasoning/summaryTextDelta", _n.SummaryTextDelta),
    Notification("item/reasoning/textDelta", _n.ReasoningTextDelta),
    Notification("item/commandExecution/outputDelta", _n.ItemDelta),
    Notification("item/commandExecution/terminalInteraction", _n.TerminalInteraction),
    Notification("item/fileChange/patchUpdated", _n.PatchUpdated),
    Notification("item/mcpToolCall/progress", mcp.McpToolCallProgressNotification),
    Notification("mcpServer/oauthLogin/completed", mcp.McpServerOauthLoginCompletedNotification),
    Notification("mcpServer/startupStatus/updated", mcp.McpServerStatusUpdatedNotification),
    Notification("command/exec/outputDelta", command_exec.CommandExecOutputDeltaNotification),
    Notification("fs/changed", files.FsChangedNotification),
    Notification("fuzzyFileSearch/sessionUpdated", file_search.FuzzyFileSearchSessionUpdatedNotification),
    Notification("fuzzyFileSearch/sessionCompleted", file_search.FuzzyFileSearchSessionCompletedNotification),
)

NOTIFICATIONS: dict[str, Notification] = {row.name: row for row in _NOTIFICATIONS}

_SERVER_REQUESTS = (
    ServerRequest(
        "item/commandExecution/requestApproval", _n.CommandApprovalParams, _n.CommandApprovalResponse
    ),
    ServerRequest(
        "item/fileChange/requestApproval", _n.FileChangeApprovalParams, _n.FileChangeApprovalResponse
    ),
    ServerRequest(
        "account/chatgptAuthTokens/refresh", accounts.TokenRefreshParams, accounts.TokenRefreshResponse
    ),
    ServerRequest(
        "item/permissions/requestApproval",
        permissions.PermissionsRequestApprovalParams,
        permissions.PermissionsRequestApprovalResponse,
    ),
    ServerRequest(
        "mcpServer/elicitation/request",
        mcp.McpServerElicitationRequestParams,
        mcp.McpServerElicitationRequestResponse,
    ),
    ServerRequest(
        "item/tool/requestUserInput",
        _t.ToolRequestUserInputParams,
        _t.ToolRequestUserInputResponse,
        experimental=True,
    ),
    ServerRequest(
        "item/tool/call",
        _t.DynamicToolCallParams,
        _t.DynamicToolCallResponse,
        experimental=True,
    ),
)

SERVER_REQUESTS: dict[str, ServerRequest] = {row.name: row for row in _SERVER_REQUESTS}
