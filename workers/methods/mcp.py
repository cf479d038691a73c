"""What clients ask the MCP servers of a loaded thread. A server may take its time, so nothing here holds up the thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import InvalidCursorError
from config.pages import page
from protocol import mcp as wire
from protocol import rpc
from protocol.base import UNSET
from workers.call import Call
from workers.mcp.errors import CallFailed, McpServerError

if TYPE_CHECKING:
    from workers.thread import ThreadService

__all__ = ["call_tool", "list_page", "list_statuses", "read_resource", "refusal_of", "tool_response"]


async def list_statuses(service: ThreadService, call: Call) -> None:
    service.loaded()

    async def work() -> None:
        params = call.params
        rows = await service.mcp.servers.statuses(
            params.server_name, of_thread=True, full=params.detail != "toolsAndAuthOnly"
        )
        call.reply(list_page(rows, params))

    service.asides.answer(call, work())


def list_page(
    rows: list[wire.McpServerStatus], params: wire.ListMcpServerStatusParams
) -> wire.ListMcpServerStatusResponse:
    try:
        shown, after = page(rows, params.cursor, params.limit, "MCP servers")
    except InvalidCursorError as error:
        raise rpc.RpcError(str(error)) from error
    return wire.ListMcpServerStatusResponse(data=shown, next_cursor=after)


async def read_resource(service: ThreadService, call: Call) -> None:
    service.loaded()

    async def work() -> None:
        params = call.params
        connection = await service.mcp.servers.ready(params.server)
        result = await connection.read_resource(params.uri)
        call.reply(
            wire.McpResourceReadResponse(
                contents=result.get("contents", []), origin_call_id=params.origin_call_id
            )
        )

    service.asides.answer(call, work())


async def call_tool(service: ThreadService, call: Call) -> None:
    service.loaded()

    async def work() -> None:
        params = call.params
        connection = await service.mcp.servers.ready(params.server)
        if not connection.server.allows(params.tool):
            raise McpServerError(f"tool '{params.tool}' is disabled for MCP server '{params.server}'")
        result = await connection.call_tool(params.tool, params.arguments, meta=params.meta)
        call.reply(tool_response(result))

    service.asides.answer(call, work())


def tool_response(result: dict[str, object]) -> wire.McpServerToolCallResponse:
    content = result.get("content")
    return wire.McpServerToolCallResponse(
        content=content if isinstance(content, list) else [],
        structured_content=result.get("structuredContent", UNSET),
        is_error=bool(result["isError"]) if "isError" in result else UNSET,
        meta=result.get("_meta", UNSET),
    )


def refusal_of(error: McpServerError) -> rpc.RpcError:
    """A server's own refusal as it is; everything else is an internal error."""
    if isinstance(error, CallFailed) and error.code is not None:
        return rpc.RpcError(error.message, error.code)
    return rpc.RpcError(str(error), rpc.INTERNAL_ERROR)
