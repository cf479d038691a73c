"""MCP servers: how they are told of, what clients ask of them, what they ask clients."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import UNSET, Absent, Params, Wire
from protocol.inventory import PageParams

__all__ = [
    "ListMcpServerStatusParams",
    "ListMcpServerStatusResponse",
    "McpResourceReadParams",
    "McpResourceReadResponse",
    "McpServerElicitationRequestParams",
    "McpServerElicitationRequestResponse",
    "McpServerInfo",
    "McpServerOauthLoginCompletedNotification",
    "McpServerOauthLoginParams",
    "McpServerOauthLoginResponse",
    "McpServerRefreshResponse",
    "McpServerStatus",
    "McpServerStatusUpdatedNotification",
    "McpServerToolCallParams",
    "McpServerToolCallResponse",
    "McpToolCallProgressNotification",
]

RuntimeStatus = Literal[
    "notStarted", "starting", "connected", "authenticationRequired", "failed", "cancelled", "disabled"
]
AuthStatus = Literal["unknown", "unsupported", "notLoggedIn", "bearerToken", "oAuth"]


class McpServerStatusUpdatedNotification(Wire, kw_only=True):
    """`mcpServer/startupStatus/updated`."""

    thread_id: str | None = None
    name: str
    status: Literal["starting", "ready", "failed", "cancelled"]
    error: str | None = None
    failure_reason: Literal["reauthenticationRequired"] | None = None


class ListMcpServerStatusParams(PageParams, kw_only=True):
    detail: Literal["full", "toolsAndAuthOnly"] | None = None
    server_name: str | None = None
    thread_id: str | None = None


class McpServerInfo(Wire, kw_only=True):
    name: str
    title: str | None = None
    version: str
    description: str | None = None
    icons: list[Any] | None = None
    website_url: str | None = None


class McpServerStatus(Wire, kw_only=True):
    """`runtime_status`: of the thread's own server; None if the list was not about a thread.

    `http_origin`: of a server with a URL, without path and credentials. `tools`, `resources`, `resource_templates`:
    as the server says them. `tools_error` says why there are none.
    """

    name: str
    runtime_status: RuntimeStatus | None = None
    plugin_id: str | None = None
    http_origin: str | None = None
    server_info: McpServerInfo | None = None
    server_capabilities: Any = None
    tool_list_meta: Any = None
    tools: dict[str, Any] = {}
    tools_error: str | None = None
    resources: list[Any] = []
    resource_templates: list[Any] = []
    auth_status: AuthStatus = "unsupported"


class ListMcpServerStatusResponse(Wire, kw_only=True):
    data: list[McpServerStatus]
    next_cursor: str | None = None


class McpServerRefreshResponse(Wire, kw_only=True):
    pass


class McpServerToolCallParams(Params, kw_only=True):
    """A call of the client's own: no approval, no item."""

    thread_id: str
    server: str
    tool: str
    arguments: Any = None
    meta: Any = msgspec.field(default=None, name="_meta")


class McpServerToolCallResponse(Wire, kw_only=True):
    content: list[Any]
    structured_content: Any | Absent = UNSET
    is_error: bool | Absent = UNSET
    meta: Any | Absent = msgspec.field(default=UNSET, name="_meta")


class McpResourceReadParams(Params, kw_only=True):
    """Without a thread the server is started for this request alone."""

    thread_id: str | None = None
    server: str
    uri: str
    origin_call_id: str | None = None


class McpResourceReadResponse(Wire, kw_only=True):
    contents: list[Any]
    origin_call_id: str | None = None


class McpToolCallProgressNotification(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    message: str


# --- what servers ask, and what is asked for them ------------------------------------------------------------------


class McpServerElicitationRequestParams(Wire, kw_only=True):
    """`form` has a `requested_schema`, `url` a `url` and an `elicitation_id`.

    `meta`: for the approval of a tool call, what is to be called; else what the server has added.
    """

    thread_id: str
    turn_id: str | None = None
    server_name: str
    mode: Literal["form", "url"]
    meta: Any = msgspec.field(default=None, name="_meta")
    message: str
    requested_schema: Any | Absent = UNSET
    url: str | Absent = UNSET
    elicitation_id: str | Absent = UNSET


class McpServerElicitationRequestResponse(Params, kw_only=True):
    """`content`: what the user has filled in. `meta`: `{"persist": "session" | "always"}` accepts for longer."""

    action: Literal["accept", "decline", "cancel"]
    content: Any = None
    meta: Any = msgspec.field(default=None, name="_meta")


# --- logins -----------------------------------------------------------------------------------------------------------


class McpServerOauthLoginParams(Params, kw_only=True):
    """`timeout_secs`: how long a login may take."""

    name: str
    client_registration: Literal["auto", "cimd", "dcr"] | None = None
    scopes: list[str] | None = None
    thread_id: str | None = None
    timeout_secs: int | None = None


class McpServerOauthLoginResponse(Wire, kw_only=True):
    authorization_url: str
    login_id: str | None = None


class McpServerOauthLoginCompletedNotification(Wire, kw_only=True):
    name: str
    login_id: str | None = None
    thread_id: str | None = None
    success: bool
    error: str | None = None
