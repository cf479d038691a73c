"""MCP servers without a thread: started for one request, asked, and ended."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from config.document import Document
from config.errors import ConfigError
from config.mcp_servers import McpServer, mcp_servers_of
from protocol import mcp as wire
from protocol.rpc import INTERNAL_ERROR, RpcError
from workers.host.request import HostRequest
from workers.link import Link
from workers.mcp.authorization import authorization_by
from workers.mcp.errors import McpServerError
from workers.mcp.servers import McpServers
from workers.mcp.surroundings import Surroundings
from workers.methods.mcp import list_page, refusal_of

__all__ = ["McpInventory"]


class McpInventory:
    """`processes`: where programs are written down."""

    def __init__(self, link: Link, processes: str) -> None:
        self._surroundings = Surroundings(
            cwd=os.getcwd(), environ=os.environ, processes=processes, authorize=authorization_by(link)
        )

    async def list(self, request: HostRequest) -> wire.ListMcpServerStatusResponse:
        params = request.params(wire.ListMcpServerStatusParams)
        async with self._started(request, params.server_name) as servers:
            await servers.settled()
            rows = await servers.statuses(
                params.server_name, of_thread=False, full=params.detail != "toolsAndAuthOnly"
            )
        return list_page(rows, params)

    async def read(self, request: HostRequest) -> wire.McpResourceReadResponse:
        params = request.params(wire.McpResourceReadParams)
        async with self._started(request, params.server) as servers:
            try:
                connection = await servers.ready(params.server)
                result = await connection.read_resource(params.uri)
            except McpServerError as error:
                raise refusal_of(error) from None
        return wire.McpResourceReadResponse(
            contents=result.get("contents", []), origin_call_id=params.origin_call_id
        )

    @asynccontextmanager
    async def _started(self, request: HostRequest, only: str | None) -> AsyncIterator[McpServers]:
        servers = McpServers()
        try:
            configured = _configured(request)
            await servers.start([one for one in configured if only in (None, one.name)], self._surroundings)
            yield servers
        finally:
            await servers.close()


def _configured(request: HostRequest) -> tuple[McpServer, ...]:
    try:
        return mcp_servers_of(msgspec.json.decode(request.context, type=Document), os.getcwd())
    except ConfigError as error:
        raise RpcError(f"failed to reload config: {error}", INTERNAL_ERROR) from error
