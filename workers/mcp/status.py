"""What clients are told of a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from config.mcp_servers import http_origin
from protocol.mcp import AuthStatus, McpServerStatus, RuntimeStatus

if TYPE_CHECKING:
    from workers.mcp.connection import Connection

__all__ = ["runtime_status", "start_error", "status_of"]


def runtime_status(connection: Connection) -> RuntimeStatus:
    if connection.state == "ready":
        return "connected" if connection.connected else "failed"
    if connection.state == "failed" and connection.unauthorized:
        return "authenticationRequired"
    return connection.state


def start_error(connection: Connection) -> str | None:
    """The text that goes with the state `failed`."""
    name = connection.server.name
    if connection.state != "failed":
        return None
    if connection.unauthorized:
        return f"The {name} MCP server is not logged in. Run `codex mcp login {name}`."
    if connection.timed_out:
        return (
            f"MCP client for `{name}` timed out after {connection.server.startup_timeout_s:g} seconds. "
            f"Add or adjust `startup_timeout_sec` in your config.toml:\n"
            f"[mcp_servers.{name}]\nstartup_timeout_sec = XX"
        )
    return f"MCP client for `{name}` failed to start: MCP startup failed: {connection.reason}"


async def status_of(connection: Connection, *, of_thread: bool, full: bool) -> McpServerStatus:
    """One row of `mcpServerStatus/list`. `full`: the server is asked for its resources too."""
    resources: list[Any] = []
    templates: list[Any] = []
    if full:
        resources, templates = await asyncio.gather(
            connection.resources("resources"), connection.resources("templates")
        )
    status = runtime_status(connection)
    failed = status in ("failed", "authenticationRequired")
    return McpServerStatus(
        name=connection.server.name,
        runtime_status=status if of_thread else None,
        http_origin=http_origin(connection.server),
        server_info=connection.info,
        server_capabilities=connection.capabilities,
        tools=connection.tools,
        tools_error=f"MCP startup failed: {connection.reason}" if failed else None,
        resources=resources,
        resource_templates=templates,
        auth_status=_auth_status(connection),
    )


def _auth_status(connection: Connection) -> AuthStatus:
    server = connection.server
    if server.url is None:
        return "unsupported"
    if server.bearer_token_env_var is not None:
        return "bearerToken"
    if connection.unauthorized:
        return "notLoggedIn"
    return "oAuth" if connection.logged_in else "unsupported"
