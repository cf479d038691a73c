"""What the front does about MCP servers: it has threads take them from the configuration anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import ConfigError
from protocol.base import NoParams
from protocol.mcp import McpServerRefreshResponse
from protocol.rpc import INTERNAL_ERROR, RpcError
from supervisor.connection import Connection

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["reload"]


def reload(front: Front, connection: Connection, params: NoParams) -> McpServerRefreshResponse:
    """Threads that are awake do it at once, those that sleep when they wake."""
    try:
        layers = front.configuration.refresh().layers
    except ConfigError as error:
        raise RpcError(f"failed to refresh MCP servers: {error}", INTERNAL_ERROR) from error
    front.supervisor.reload_servers(layers)
    return McpServerRefreshResponse()
