"""All MCP servers of one thread, or of one request that has no thread.

The SDK behind a connection takes half a second and tens of MiB to import; here it is imported only where there is a
server to run. The zygote has done it already if the configuration names one (`workers/warm.py`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from config.mcp_servers import McpServer, http_origin
from protocol.mcp import McpServerStatus
from workers.mcp.errors import StartFailed, UnknownServer
from workers.mcp.names import OfferedTool, offered_tools
from workers.mcp.status import runtime_status, status_of
from workers.mcp.surroundings import Surroundings

if TYPE_CHECKING:
    from workers.mcp.connection import Connection

__all__ = ["McpServers", "import_client"]

Told = Callable[["Connection"], None]


def import_client() -> type[Connection]:
    """The SDK and what stands on it."""
    from workers.mcp.connection import Connection  # noqa: PLC0415 - see above

    return Connection


def _untold(connection: Connection) -> None:
    """Nobody wants to know."""


class McpServers:
    """`told` hears of each connection when it begins to start, and whenever its state changes."""

    def __init__(self, told: Told = _untold) -> None:
        self._told = told
        self._connections: dict[str, Connection] = {}
        self._off: tuple[McpServer, ...] = ()
        self._wanted = False
        self._offered: list[OfferedTool] | None = []
        self._began = 0.0
        self._lock = asyncio.Lock()
        self._closing = False

    def __bool__(self) -> bool:
        """Whether there are any, running or not."""
        return self._wanted

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no call, and no start."""
        return all(one.settled.is_set() and not one.calls for one in self._connections.values())

    async def start(self, servers: Sequence[McpServer], surroundings: Surroundings) -> None:
        """Start those that are enabled, in place of those that run and are not the same any more.

        Servers that run and are the same go on; those that have failed are tried again.
        """
        async with self._lock:
            self._off = tuple(server for server in servers if not server.enabled)
            wanted = {server.name: server for server in servers if server.enabled}
            self._wanted = bool(wanted)
            kept = {
                name: connection
                for name, connection in self._connections.items()
                if runtime_status(connection) in ("starting", "connected")
                and name in wanted
                and wanted[name].identity() == connection.server.identity()
            }
            gone = [one for name, one in self._connections.items() if kept.get(name) is not one]
            self._connections = kept
            self._offered = None
            await self._close(gone)
            if not wanted:
                return
            if "workers.mcp.connection" not in sys.modules:
                # Beside the loop: it must answer meanwhile.
                await asyncio.get_running_loop().run_in_executor(None, import_client)
            make = import_client()
            self._began = asyncio.get_running_loop().time()
            for name, server in wanted.items():
                if name in kept:
                    kept[name].adjust(server)
                    self._told(kept[name])
                    continue
                connection = self._connections[name] = make(server, surroundings, self._changed)
                self._told(connection)

    def _changed(self, connection: Connection) -> None:
        self._offered = None
        if not self._closing:
            self._told(connection)

    async def settle(self, grace_s: float) -> None:
        """Wait for those that are still starting, but not longer than `grace_s` from their start."""
        await self._listed()
        starting = [one for one in self._connections.values() if not one.settled.is_set()]
        left = self._began + grace_s - asyncio.get_running_loop().time() if starting else 0
        if left > 0:
            await self._wait(starting, left)

    async def settled(self) -> None:
        """Wait until each has started, or failed."""
        await self._listed()
        await self._wait(list(self._connections.values()), None)

    async def require(self) -> None:
        """Wait for the servers without which a thread must not begin.

        Raises:
            StartFailed: names them with their reasons.
        """
        required = [one for one in self._connections.values() if one.server.required]
        await self._wait(required, None)
        failed = [f"{one.server.name}: {one.reason}" for one in required if one.state != "ready"]
        if failed:
            raise StartFailed(f"required MCP servers failed to initialize: {', '.join(failed)}")

    @staticmethod
    async def _wait(connections: Sequence[Connection], timeout: float | None) -> None:
        waiting = [asyncio.ensure_future(one.settled.wait()) for one in connections]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=timeout)
            for task in late:
                task.cancel()

    async def _listed(self) -> None:
        """Wait for a start, or a change, that is under way: then it is known which there are."""
        async with self._lock:
            pass

    def get(self, name: str) -> Connection:
        """:raises UnknownServer:"""
        connection = self._connections.get(name)
        if connection is None:
            raise UnknownServer(name)
        return connection

    async def ready(self, name: str) -> Connection:
        """A connection that has started.

        Raises:
            UnknownServer, StartFailed
        """
        await self._listed()
        connection = self.get(name)
        await connection.settled.wait()
        if connection.state != "ready":
            raise StartFailed(f"failed to get client: MCP startup failed: {connection.reason}")
        return connection

    @property
    def running(self) -> list[Connection]:
        """Those that answer, by name."""
        return [one for one in self._connections.values() if one.connected]

    def offered(self) -> list[OfferedTool]:
        if self._offered is None:
            ready = (one for one in self._connections.values() if one.state == "ready")
            self._offered = offered_tools((one.server.name, one.tools.values()) for one in ready)
        return self._offered

    def descriptions(self) -> dict[str, str]:
        """What the servers say of themselves, by name."""
        return {name: one.instructions for name, one in self._connections.items()}

    def find(self, namespace: str | None, name: str) -> OfferedTool | None:
        """By the names that models use, in a namespace or flat."""
        for tool in self.offered():
            if (namespace is None and tool.flat_name == name) or (
                namespace == tool.namespace and tool.name == name
            ):
                return tool
        return None

    async def statuses(self, only: str | None, *, of_thread: bool, full: bool) -> list[McpServerStatus]:
        """A row for each server, the disabled ones too."""
        await self._listed()
        rows = [
            status_of(one, of_thread=of_thread, full=full)
            for name, one in self._connections.items()
            if only in (None, name)
        ]
        disabled = [
            McpServerStatus(
                name=server.name,
                runtime_status="disabled" if of_thread else None,
                http_origin=http_origin(server),
            )
            for server in self._off
            if only in (None, server.name)
        ]
        return sorted([*await asyncio.gather(*rows), *disabled], key=lambda row: row.name)

    async def close(self) -> None:
        """End all, and tell nobody; returns when no process is left."""
        self._closing = True
        connections, self._connections = list(self._connections.values()), {}
        self._offered = []
        await self._close(connections)

    @staticmethod
    async def _close(connections: Sequence[Connection]) -> None:
        if connections:
            await asyncio.wait([asyncio.ensure_future(one.close()) for one in connections])
