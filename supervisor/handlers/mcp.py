"""What the front does about MCP servers: it has threads take them anew, and sees to logins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auth.errors import LoginError
from config.errors import ConfigError
from config.mcp_servers import mcp_servers_of
from protocol.base import NoParams
from protocol.mcp import (
    McpServerOauthLoginParams,
    McpServerOauthLoginResponse,
    McpServerRefreshResponse,
)
from protocol.rpc import INTERNAL_ERROR, RpcError
from supervisor.connection import Connection

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["login", "reload"]


def reload(front: Front, connection: Connection, params: NoParams) -> McpServerRefreshResponse:
    """Threads that are awake do it at once, those that sleep when they wake."""
    try:
        layers = front.configuration.refresh().layers
    except ConfigError as error:
        raise RpcError(f"failed to refresh MCP servers: {error}", INTERNAL_ERROR) from error
    front.supervisor.reload_servers(layers)
    return McpServerRefreshResponse()


async def login(
    front: Front, connection: Connection, params: McpServerOauthLoginParams
) -> McpServerOauthLoginResponse:
    """Begin a login; its end is told by `mcpServer/oauthLogin/completed`. Servers of a project have none."""
    servers = mcp_servers_of(front.configuration.refresh().document)
    server = next((one for one in servers if one.name == params.name), None)
    if server is None:
        raise RpcError(f"No MCP server named '{params.name}' found.")
    if server.url is None:
        raise RpcError("OAuth login is only supported for streamable HTTP servers.")
    try:
        identity, url = await front.mcp_logins.begin(server, params)
    except LoginError as error:
        text = f"failed to login to MCP server '{params.name}': {error}"
        raise RpcError(text, INTERNAL_ERROR) from None
    return McpServerOauthLoginResponse(authorization_url=url, login_id=identity)
