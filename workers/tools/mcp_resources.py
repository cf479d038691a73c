"""`list_mcp_resources`, `list_mcp_resource_templates`, `read_mcp_resource`: what MCP servers have beside their tools."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from workers.mcp.errors import McpServerError
from workers.mcp.servers import McpServers
from workers.tools import tool_output
from workers.tools.mcp_call import McpItem
from workers.tools.tool import Call, ToolRefused, TurnScope, arguments_of, function

__all__ = ["ListMcpResources", "ListMcpTemplates", "ReadMcpResource"]

ALL_SERVERS = "codex"
"""The server's name in the item of a call that asks all of them; the peer's word."""
_TEXT = {"type": "string"}


class ListArguments(msgspec.Struct):
    server: str | None = None
    cursor: str | None = None


class ReadArguments(msgspec.Struct):
    server: str
    uri: str


class _ResourceTool(ABC):
    """The item around a call; `work` returns what the model gets, as JSON."""

    name: str

    def __init__(self, servers: McpServers) -> None:
        self._servers = servers

    async def _run(self, scope: TurnScope, call: Call, server: str | None) -> str:
        try:
            given = msgspec.json.decode(call.arguments or "{}")
        except (msgspec.DecodeError, RecursionError) as error:
            raise ToolRefused(f"failed to parse function arguments: {error}") from None
        item = McpItem(scope, call, server or ALL_SERVERS, self.name, given)
        began = time.monotonic()
        try:
            found = await self.work(call)
        except McpServerError as error:
            item.failed(str(error), time.monotonic() - began)
            raise ToolRefused(str(error)) from None
        text = msgspec.json.encode(found).decode()
        item.answered({"content": [{"type": "text", "text": text}]}, time.monotonic() - began)
        return tool_output.truncated(text, tool_output.DEFAULT_MAX_TOKENS)

    @abstractmethod
    async def work(self, call: Call) -> dict[str, Any]: ...


class _Listing(_ResourceTool):
    kind: Literal["resources", "templates"]
    key: str
    what: str

    def definition(self) -> Mapping[str, Any]:
        return function(
            self.name,
            f"Lists {self.what} of the MCP servers.",
            {
                "server": {**_TEXT, "description": "The server to ask; default: all."},
                "cursor": {**_TEXT, "description": "The nextCursor of the page before; with a server only."},
            },
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        arguments = arguments_of(call, ListArguments)
        if arguments.cursor is not None and arguments.server is None:
            raise ToolRefused("cursor can only be used when a server is specified")
        return await self._run(scope, call, arguments.server)

    async def work(self, call: Call) -> dict[str, Any]:
        arguments = arguments_of(call, ListArguments)
        if arguments.server is None:
            running = self._servers.running
            lists = await asyncio.gather(*(one.resources(self.kind) for one in running))
            pairs = zip(running, lists, strict=True)
            return {self.key: [{"server": one.server.name, **row} for one, rows in pairs for row in rows]}
        connection = await self._servers.ready(arguments.server)
        try:
            page = await connection.page(self.kind, arguments.cursor)
        except McpServerError as error:
            raise McpServerError(f"{self.name} failed for `{arguments.server}`: {error}") from None
        rows = [{"server": arguments.server, **row} for row in page.get(self.key, ())]
        found: dict[str, Any] = {"server": arguments.server, self.key: rows}
        return {**found, "nextCursor": page["nextCursor"]} if page.get("nextCursor") else found


class ListMcpResources(_Listing):
    name = "list_mcp_resources"
    kind = "resources"
    key = "resources"
    what = "the resources"


class ListMcpTemplates(_Listing):
    name = "list_mcp_resource_templates"
    kind = "templates"
    key = "resourceTemplates"
    what = "the resource templates (addresses with gaps to be filled)"


class ReadMcpResource(_ResourceTool):
    name = "read_mcp_resource"

    def definition(self) -> Mapping[str, Any]:
        return function(
            self.name,
            "Reads a resource of an MCP server.",
            {
                "server": {**_TEXT, "description": "The server, by its name in list_mcp_resources."},
                "uri": {**_TEXT, "description": "The resource, by its uri in list_mcp_resources."},
            },
            required=("server", "uri"),
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        return await self._run(scope, call, arguments_of(call, ReadArguments).server)

    async def work(self, call: Call) -> dict[str, Any]:
        arguments = arguments_of(call, ReadArguments)
        connection = await self._servers.ready(arguments.server)
        try:
            result = await connection.read_resource(arguments.uri)
        except McpServerError as error:
            raise McpServerError(
                f"resources/read failed: resources/read failed for `{arguments.server}` ({arguments.uri}): {error}"
            ) from None
        return {"server": arguments.server, "uri": arguments.uri, "contents": result.get("contents", [])}
