"""One MCP server from its start to its end: a task that owns the transport and the SDK's session.

Whatever the server does, hang, die, print rubbish, answer wrongly, it is this connection's failure and nobody else's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Literal

import anyio
import mcp_types as types
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from config.mcp_servers import McpServer, http_origin
from protocol.mcp import AuthStatus, McpServerInfo, McpServerStatus, RuntimeStatus
from protocol.session import PROTOCOL_VERSION
from workers.mcp.errors import CallFailed, StartFailed
from workers.mcp.pipe import Pipe, piped
from workers.mcp.surroundings import Surroundings
from workers.mcp.web import NOT_FOUND, UNAUTHORIZED, Web, reached

__all__ = ["Connection"]

State = Literal["starting", "ready", "failed", "cancelled"]
Kind = Literal["resources", "templates"]

_NAME = re.compile(r"[a-zA-Z0-9_:@/.-]+")
_RAW: TypeAdapter[Any] = TypeAdapter(dict[str, Any])
"""Results are passed on as they came; the SDK has checked their form."""
PAGES = 100
"""Of a list; a server that always has a next page would hold us for ever."""
_LISTS: dict[Kind, tuple[str, str, Callable[..., Any]]] = {
    "resources": ("resources/list", "resources", types.ListResourcesRequest),
    "templates": ("resources/templates/list", "resourceTemplates", types.ListResourceTemplatesRequest),
}
LOOK_S = 1.0
"""How often a call that waits for the user looks whether it still does."""
LISTS_TIMEOUT_S = 30.0
"""For lists and resources, which nobody sets a time for."""


class Connection:
    """`changed` is called when the state has changed. `reason`: why it has failed, or ended."""

    def __init__(
        self, server: McpServer, surroundings: Surroundings, changed: Callable[[Connection], None]
    ) -> None:
        self.server = server
        self.state: State = "starting"
        self.reason = ""
        self.timed_out = False
        self.unauthorized = False
        self.info: McpServerInfo | None = None
        self.capabilities: Any = None
        self.instructions = ""
        self.tools: dict[str, dict[str, Any]] = {}
        """As the server lists them, by name; only those that the settings allow."""
        self._listed: dict[str, dict[str, Any]] = {}
        self.settled = asyncio.Event()
        self.calls = 0
        """Under way."""
        self._surroundings = surroundings
        self._changed = changed
        self._session: ClientSession | None = None
        self._transport: Pipe | Web | None = None
        self._asking = 0
        self._asked_since = 0.0
        self._asked_s = 0.0
        self._lost = asyncio.Event()
        self._renewed = asyncio.Event()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._live())
        self._overdue = self._loop.call_later(server.startup_timeout_s, self._too_late)

    # --- its life ------------------------------------------------------------------------------------------------

    def _too_late(self) -> None:
        if self.state == "starting":
            self.timed_out = True
            self._fail(
                f"timed out handshaking with MCP server after {self.server.startup_timeout_s:g}s: deadline has elapsed"
            )
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
        if not _NAME.fullmatch(self.server.name):
            self._fail(
                f"Invalid MCP server name '{self.server.name}': must match pattern ^[a-zA-Z0-9_:@/.-]+$"
            )
            return
        try:
            while await self._serve():
                self._session = None
        except Exception as error:  # noqa: BLE001 - whatever a server or the SDK comes up with
            if self.state == "starting":
                self.unauthorized = self._refused_login()
                self._fail(self._why(error))
            else:
                self.reason = self._why(error)
        finally:
            self._session = None
            self._renewed.set()

    async def _serve(self) -> bool:
        """One session; whether there is to be another one."""
        server, around = self.server, self._surroundings
        way = piped(server, around) if server.command is not None else reached(server, around)
        async with way as transport:
            self._transport = transport
            session = ClientSession(
                transport.read,
                transport.write,
                elicitation_callback=self._elicited,
                client_info=types.Implementation(
                    name="codex-mcp-client", title="Codex", version=PROTOCOL_VERSION
                ),
            )
            async with session:
                hello = await session.initialize()
                info = hello.server_info.model_dump(by_alias=True, mode="json", exclude_none=True)
                self.info = McpServerInfo(
                    name=info["name"],
                    title=info.get("title"),
                    version=info["version"],
                    description=info.get("description"),
                    icons=info.get("icons"),
                    website_url=info.get("websiteUrl"),
                )
                self.capabilities = hello.capabilities.model_dump(
                    by_alias=True, mode="json", exclude_none=True
                )
                self.instructions = hello.instructions or ""
                self._session = session
                if "tools" in self.capabilities:
                    listed = await self._list("tools/list", "tools", types.ListToolsRequest)
                    self._listed = {tool["name"]: tool for tool in listed}
                    self.adjust(self.server)
                if self.state == "starting":
                    self._settle("ready")
                self._renewed.set()
                if isinstance(transport, Pipe):
                    await transport.ended.wait()
                    self._session = None
                    self.reason = transport.last_words
                    return False
                await self._lost.wait()
                self._lost.clear()
                return True

    def _refused_login(self) -> bool:
        web = self._transport
        return isinstance(web, Web) and web.status == UNAUTHORIZED and web.challenged

    def _why(self, error: BaseException) -> str:
        """One line for the many ways in which a start can fail."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, StartFailed):
            return str(error)
        transport = self._transport
        if isinstance(transport, Web) and transport.status:
            return f"handshaking with MCP server failed: HTTP {transport.status}"
        if isinstance(error, MCPError) and _is_closed(error):
            words = transport.last_words if isinstance(transport, Pipe) else ""
            return (
                "handshaking with MCP server failed: connection closed: initialize response"
                f"{f' ({words})' if words else ''}"
            )
        if isinstance(error, MCPError):
            return f"handshaking with MCP server failed: JSON-RPC error: {error.code}: {error.message}"
        if isinstance(error, ValidationError):
            return f"handshaking with MCP server failed: an answer is not of the right form: {_first(error)}"
        return f"handshaking with MCP server failed: {error}"

    # --- what the server asks -----------------------------------------------------------------------------------

    async def _elicited(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        asked = params.model_dump(by_alias=True, mode="json", exclude_none=True)
        if not self._asking:
            self._asked_since = self._loop.time()
        self._asking += 1
        try:
            answer = await self._surroundings.elicit(self.server.name, asked)
        finally:
            self._asking -= 1
            if not self._asking:
                self._asked_s += self._loop.time() - self._asked_since
        try:
            return types.ElicitResult.model_validate(answer)
        except ValidationError as error:
            return types.ErrorData(code=types.INTERNAL_ERROR, message=f"the answer is none: {_first(error)}")

    # --- what it is asked ------------------------------------------------------------------------------------------

    async def call_tool(
        self, name: str, arguments: Any, *, meta: Any = None, progress: ProgressFnT | None = None
    ) -> dict[str, Any]:
        """The result as it came. Time that the user takes for the server's questions does not count.

        Raises:
            CallFailed
        """
        if arguments is not None and not isinstance(arguments, dict):
            raise CallFailed(f"MCP tool arguments must be a JSON object, got {_json(arguments)}")
        # As it came: the type of the SDK knows only some of what may be in there.
        more: Any = {"_meta": meta} if isinstance(meta, dict) else {}
        params = types.CallToolRequestParams(name=name, arguments=arguments, **more)
        return await self._request(
            types.CallToolRequest(params=params), "tools/call", self.server.tool_timeout_s, progress
        )

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
        if self._session is None or "resources" not in (self.capabilities or ()):
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
                return await self._ask(request, method, timeout_s, progress)
            except CallFailed:
                if not await self._renew():
                    raise
            return await self._ask(request, method, timeout_s, progress)
        finally:
            self.calls -= 1

    async def _renew(self) -> bool:
        """Begin a new session if the server has forgotten the old one; whether there is one."""
        web = self._transport
        if self.state != "ready" or not isinstance(web, Web) or web.status != NOT_FOUND:
            return False
        self._renewed.clear()
        self._lost.set()
        await asyncio.wait(
            (asyncio.ensure_future(self._renewed.wait()),), timeout=self.server.startup_timeout_s
        )
        return self._session is not None and self._transport is not web

    async def _ask(
        self, request: Any, method: str, timeout_s: float, progress: ProgressFnT | None
    ) -> dict[str, Any]:
        session, transport = self._session, self._transport
        if session is None:
            raise CallFailed(self._closed())
        if isinstance(transport, Web):
            transport.status = 0
        asked_before = self._asked_s
        began = self._loop.time()
        work = asyncio.ensure_future(session.send_request(request, _RAW, progress_callback=progress))
        try:
            while not work.done():
                left = began + timeout_s + self._asked_s - asked_before - self._loop.time()
                if self._asking:
                    left = LOOK_S
                elif left <= 0:
                    raise CallFailed(f"timed out awaiting {method} after {round(timeout_s * 1000)}ms")
                await asyncio.wait((work,), timeout=left)
            result: dict[str, Any] = await work
        except MCPError as error:
            if _is_closed(error):
                raise CallFailed(self._closed()) from None
            raise CallFailed(f"Mcp error: {error.code}: {error.message}", error.code, error.message) from None
        except ValidationError as error:
            raise CallFailed(f"the answer is not of the right form: {_first(error)}") from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, RuntimeError):
            raise CallFailed(self._closed()) from None
        else:
            return result
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))

    def _closed(self) -> str:
        transport = self._transport
        words = transport.last_words if isinstance(transport, Pipe) else ""
        return f"Transport closed{f' ({words})' if words else ''}"

    # --- what is told of it --------------------------------------------------------------------------------------

    @property
    def runtime_status(self) -> RuntimeStatus:
        if self.state == "ready":
            return "connected" if self._session is not None else "failed"
        if self.state == "failed" and self.unauthorized:
            return "authenticationRequired"
        return self.state

    @property
    def auth_status(self) -> AuthStatus:
        server = self.server
        if server.url is None:
            return "unsupported"
        if server.bearer_token_env_var is not None:
            return "bearerToken"
        return "notLoggedIn" if self.unauthorized else "unsupported"

    @property
    def start_error(self) -> str | None:
        """What clients are told of a start that failed."""
        name = self.server.name
        if self.state != "failed":
            return None
        if self.unauthorized:
            return f"The {name} MCP server is not logged in. Run `codex mcp login {name}`."
        if self.timed_out:
            return (
                f"MCP client for `{name}` timed out after {self.server.startup_timeout_s:g} seconds. "
                f"Add or adjust `startup_timeout_sec` in your config.toml:\n"
                f"[mcp_servers.{name}]\nstartup_timeout_sec = XX"
            )
        return f"MCP client for `{name}` failed to start: MCP startup failed: {self.reason}"

    async def status(self, *, of_thread: bool, full: bool) -> McpServerStatus:
        """One row of `mcpServerStatus/list`."""
        resources: list[Any] = []
        templates: list[Any] = []
        if full:
            resources, templates = await asyncio.gather(
                self.resources("resources"), self.resources("templates")
            )
        failed = self.state == "failed" or (self.state == "ready" and self._session is None)
        return McpServerStatus(
            name=self.server.name,
            runtime_status=self.runtime_status if of_thread else None,
            http_origin=http_origin(self.server),
            server_info=self.info,
            server_capabilities=self.capabilities,
            tools=self.tools,
            tools_error=f"MCP startup failed: {self.reason}" if failed else None,
            resources=resources,
            resource_templates=templates,
            auth_status=self.auth_status,
        )


def _is_closed(error: MCPError) -> bool:
    """Whether the SDK has said it; the code alone could be a server's own."""
    return error.code == types.CONNECTION_CLOSED and error.message == "Connection closed"


def _page(cursor: str | None) -> Any:
    return None if cursor is None else types.PaginatedRequestParams(cursor=cursor)


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])


def _json(value: Any) -> str:
    return TypeAdapter(Any).dump_json(value).decode()
