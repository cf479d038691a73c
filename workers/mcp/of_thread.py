"""The MCP servers of one thread: from its configuration, with what they need of it, to what clients hear of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from config.document import Document
from config.errors import ConfigError
from config.resolve import resolve_mcp_servers
from protocol import rpc
from protocol.mcp import McpServerStatusUpdatedNotification
from workers.mcp.authorization import authorization_by
from workers.mcp.elicitation import elicit
from workers.mcp.errors import StartFailed
from workers.mcp.servers import McpServers
from workers.mcp.status import start_error
from workers.mcp.surroundings import Surroundings

if TYPE_CHECKING:
    from workers.mcp.connection import Connection
    from workers.thread import ThreadService

__all__ = ["ThreadServers"]


class ThreadServers:
    def __init__(self, service: ThreadService) -> None:
        self.servers = McpServers(self._tell)
        self._service = service

    def start(self) -> None:
        """Start them behind what was just said; turns wait for them a little."""
        servers = self._service.loaded().settings.mcp_servers
        if servers:
            self._service.asides.keep(self.servers.start(servers, self._surroundings()))

    async def require(self) -> None:
        """Start those without which the thread is not to begin, and wait for them.

        Raises:
            RpcError: one cannot start.
        """
        servers = self._service.loaded().settings.mcp_servers
        if not any(server.required and server.enabled for server in servers):
            return
        try:
            await self.servers.start(servers, self._surroundings())
            await self.servers.require()
        except StartFailed as error:
            await self.servers.close()
            raise rpc.RpcError(
                f"error creating thread: Fatal error: Failed to initialize session: {error}",
                rpc.INTERNAL_ERROR,
            ) from None

    def reload(self, layers: bytes) -> None:
        """Take them from a configuration that was read again."""
        if self._service.session is not None and self.take(layers):
            servers = self._service.session.settings.mcp_servers
            self._service.asides.keep(self.servers.start(servers, self._surroundings()))

    def take(self, layers: bytes) -> bool:
        """Whether they could be taken; else the thread goes on with those it has."""
        session = self._service.loaded()
        document = msgspec.json.decode(layers, type=Document)
        try:
            servers = resolve_mcp_servers(
                document, self._service.overrides, session.settings.cwd, self._service.adopt.home
            )
        except ConfigError as error:
            print(f"MCP servers stay as they are: {error}", flush=True)
            return False
        session.settings = msgspec.structs.replace(session.settings, mcp_servers=servers)
        return True

    def _surroundings(self) -> Surroundings:
        session = self._service.loaded()
        return Surroundings(
            cwd=session.settings.cwd,
            environ=os.environ,
            processes=session.processes,
            elicit=self._elicit,
            authorize=authorization_by(self._service.link),
        )

    async def _elicit(self, server: str, params: Mapping[str, Any]) -> dict[str, Any]:
        turn, approvals = self._service.turns.current, self._service.approvals
        turn_id = None if turn is None or turn.ending else turn.id
        try:
            return await elicit(self._service.loaded(), approvals, turn_id, server, params)
        except asyncio.CancelledError:
            if turn is None or not turn.ending:  # else clients are told after its end
                approvals.withdraw()
            raise

    def _tell(self, connection: Connection) -> None:
        session = self._service.session
        if session is not None:
            session.notify(
                "mcpServer/startupStatus/updated",
                McpServerStatusUpdatedNotification(
                    thread_id=session.id,
                    name=connection.server.name,
                    status=connection.state,
                    error=start_error(connection),
                ),
            )
        asyncio.get_running_loop().call_soon(self._service.sleep_at_last)
