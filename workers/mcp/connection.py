"""One MCP server from its start to its end: a task that owns the transport and the SDK's session.

Whatever the server does, hang, die, print rubbish, answer wrongly, it is this connection's failure and nobody else's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Literal

import mcp_types as types
import msgspec
from mcp.shared.dispatcher import ProgressFnT

from config.mcp_servers import McpServer
from protocol.mcp import McpServerInfo
from workers.mcp.errors import CallFailed
from workers.mcp.exchange import Exchange
from workers.mcp.failures import closed_text, start_text
from workers.mcp.pipe import Pipe, piped
from workers.mcp.surroundings import Surroundings
from workers.mcp.web import NOT_FOUND, UNAUTHORIZED, Web, reached

__all__ = ["Connection"]

State = Literal["starting", "ready", "failed", "cancelled"]
Kind = Literal["resources", "templates"]

_NAME = re.compile(r"[a-zA-Z0-9_:@/.-]+")
PAGES = 100
"""Of a list; a server that always has a next page would hold us for ever."""
LISTS_TIMEOUT_S = 30.0
"""For lists and resources, which nobody sets a time for."""
_TOOLS = ("tools/list", "tools", types.ListToolsRequest)
_LISTS: dict[Kind, tuple[str, str, Callable[..., Any]]] = {
    "resources": ("resources/list", "resources", types.ListResourcesRequest),
    "templates": ("resources/templates/list", "resourceTemplates", types.ListResourceTemplatesRequest),
}


class Connection:
    """`changed` is called when the state has changed. `reason`: why it has failed, or ended."""

    def __init__(
        self, server: McpServer, surroundings: Surroundings, changed: Callable[[Connection], None]
    ) -> None:
        self.server = server
        self.state: State = "starting"
        self.reason = ""
        self.timed_out = self.unauthorized = False
        self.info: McpServerInfo | None = None
        self.capabilities: Any = None
        self.instructions = ""
        self.tools: dict[str, dict[str, Any]] = {}
        """As the server lists them, by name; only those that the settings allow."""
        self.settled = asyncio.Event()
        self.calls = 0
        """Under way."""
        self._listed: dict[str, dict[str, Any]] = {}
        self._surroundings = surroundings
        self._changed = changed
        self._exchange: Exchange | None = None
        self._transport: Pipe | Web | None = None
        self._lost, self._renewed = asyncio.Event(), asyncio.Event()
        self._closing = False
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._live())
        self._overdue = loop.call_later(server.startup_timeout_s, self._too_late)

    @property
    def logged_in(self) -> bool:
        """Whether it is used with the token of a login."""
        return isinstance(self._transport, Web) and self._transport.mark is not None

    @property
    def connected(self) -> bool:
        """Whether it answers, as far as is known."""
        return self.state == "ready" and self._exchange is not None

    # --- its life ------------------------------------------------------------------------------------------------

    def _too_late(self) -> None:
        if self.state == "starting":
            self.timed_out = True
            after = f"{self.server.startup_timeout_s:g}s"
            self._fail(f"timed out handshaking with MCP server after {after}: deadline has elapsed")
            self._end()

    def _end(self) -> None:
        """Once: a second cancellation would not wait for the end of the process."""
        if not self._closing:
            self._closing = True
            self._task.cancel()

    def _settle(self, state: State) -> None:
        self._overdue.cancel()
        self.state = state
        self._changed(self)
        self.settled.set()

    def _fail(self, reason: str) -> None:
        self.reason = reason
        self._settle("failed")

    def adjust(self, server: McpServer) -> None:
        """Go by these settings from now on; they start the same server."""
        self.server = server
        self.tools = {name: tool for name, tool in self._listed.items() if server.allows(name)}

    async def close(self) -> None:
        """End it; returns when its process is gone."""
        self._end()
        await asyncio.wait((self._task,))
        if self.state == "starting":
            self._settle("cancelled")

    async def _live(self) -> None:
        name = self.server.name
        if not _NAME.fullmatch(name):
            self._fail(f"Invalid MCP server name '{name}': must match pattern ^[a-zA-Z0-9_:@/.-]+$")
            return
        try:
            await self._serve_on()
        except Exception as error:  # noqa: BLE001 - whatever a server or the SDK comes up with
            reason = start_text(error, self._transport)
            if self.state == "starting":
                web = self._transport
                self.unauthorized = isinstance(web, Web) and web.status == UNAUTHORIZED and web.challenged
                self._fail(reason)
            else:
                self.reason = reason
        finally:
            self._exchange = None
            self._renewed.set()

    async def _serve_on(self) -> None:
        """Session after session. A login's token may be over before its time: then there is one more try, with another."""
        tried = False
        while True:
            try:
                if not await self._serve():
                    return
                tried = False
            except Exception:
                if tried or self._refused is None:
                    raise
                tried = True
            self._exchange = None

    @property
    def _refused(self) -> str | None:
        return self._transport.refused if isinstance(self._transport, Web) else None

    async def _serve(self) -> bool:
        """One session; whether there is to be another one."""
        server, around = self.server, self._surroundings
        way = piped(server, around) if server.command is not None else reached(server, around, self._refused)
        async with way as transport:
            self._transport = transport
            exchange = Exchange(server.name, transport, around.elicit)
            async with exchange.session:
                self._introduce(await exchange.session.initialize())
                self._exchange = exchange
                if "tools" in self.capabilities:
                    self._listed = {tool["name"]: tool for tool in await self._list(*_TOOLS)}
                    self.adjust(self.server)
                if self.state == "starting":
                    self._settle("ready")
                self._renewed.set()
                if isinstance(transport, Pipe):
                    await transport.ended.wait()
                    self._exchange = None
                    self.reason = transport.last_words
                    return False
                await self._lost.wait()
                self._lost.clear()
                return True

    def _introduce(self, hello: types.InitializeResult) -> None:
        info = hello.server_info.model_dump(by_alias=True, mode="json", exclude_none=True)
        self.info = msgspec.convert(info, McpServerInfo)
        self.capabilities = hello.capabilities.model_dump(by_alias=True, mode="json", exclude_none=True)
        self.instructions = hello.instructions or ""

    # --- what it is asked ------------------------------------------------------------------------------------------

    async def call_tool(
        self, name: str, arguments: Any, *, meta: Any = None, progress: ProgressFnT | None = None
    ) -> dict[str, Any]:
        """The result as it came.

        Raises:
            CallFailed
        """
        if arguments is not None and not isinstance(arguments, dict):
            text = msgspec.json.encode(arguments).decode()
            raise CallFailed(f"MCP tool arguments must be a JSON object, got {text}")
        # As it came: the type of the SDK knows only some of what may be in there.
        more: Any = {"_meta": meta} if isinstance(meta, dict) else {}
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=name, arguments=arguments, **more)
        )
        return await self._request(request, "tools/call", self.server.tool_timeout_s, progress)

    async def read_resource(self, uri: str) -> dict[str, Any]:
        """The result as it came.

        Raises:
            CallFailed
        """
        request = types.ReadResourceRequest(params=types.ReadResourceRequestParams(uri=uri))
        return await self._request(request, "resources/read", LISTS_TIMEOUT_S)

    async def page(self, kind: Kind, cursor: str | None) -> dict[str, Any]:
        """One page of resources or of their templates.

        Raises:
            CallFailed
        """
        method, _, make = _LISTS[kind]
        return await self._request(make(params=_page(cursor)), method, LISTS_TIMEOUT_S)

    async def resources(self, kind: Kind) -> list[Any]:
        """All of them; none of a server that has no such lists."""
        if self._exchange is None or "resources" not in (self.capabilities or ()):
            return []
        try:
            return await self._list(*_LISTS[kind])
        except CallFailed:
            return []

    async def _list(self, method: str, key: str, make: Callable[..., Any]) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page = await self._request(make(params=_page(cursor)), method, LISTS_TIMEOUT_S)
            found += page.get(key, ())
            cursor = page.get("nextCursor")
            if not cursor:
                break
        return found

    async def _request(
        self, request: Any, method: str, timeout_s: float, progress: ProgressFnT | None = None
    ) -> dict[str, Any]:
        self.calls += 1
        try:
            try:
                return await self._exchanging().ask(request, method, timeout_s, progress)
            except CallFailed:
                if not await self._renew():
                    raise
            return await self._exchanging().ask(request, method, timeout_s, progress)
        finally:
            self.calls -= 1

    def _exchanging(self) -> Exchange:
        """:raises CallFailed: it does not answer any more."""
        if self._exchange is None:
            raise CallFailed(closed_text(self._transport))
        return self._exchange

    async def _renew(self) -> bool:
        """Begin a new session if the server has forgotten the old one, or takes its token no more; whether there is one."""
        web = self._transport
        if self.state != "ready" or not isinstance(web, Web):
            return False
        if web.status != NOT_FOUND and web.refused is None:
            return False
        self._renewed.clear()
        self._lost.set()
        try:
            async with asyncio.timeout(self.server.startup_timeout_s):
                await self._renewed.wait()
        except TimeoutError:
            return False
        return self._exchange is not None and self._transport is not web


def _page(cursor: str | None) -> Any:
    return None if cursor is None else types.PaginatedRequestParams(cursor=cursor)
