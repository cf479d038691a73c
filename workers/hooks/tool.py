"""A hook that is a tool of an MCP server: its input is filled in from what hooks are told, its text is its answer."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec

from config.hooks import Hook
from workers.hooks.program import Ran
from workers.mcp.errors import CallFailed, McpServerError, StartFailed, UnknownServer

if TYPE_CHECKING:
    from workers.mcp.connection import Connection
    from workers.mcp.servers import McpServers

__all__ = ["call_tool", "filled"]

_PLACEHOLDER = re.compile(r"\$\{([^{}]+)\}")


class _NotFound(Exception):
    """A placeholder for something that hooks of this event are not told."""


async def call_tool(servers: McpServers | None, hook: Hook, said: dict[str, Any], thread_id: str) -> Ran:
    """Call it as soon as its server runs. Nobody is asked: the user has trusted the hook. The words are the peer's."""
    tool = hook.runs
    assert not isinstance(tool, str)
    try:
        arguments = filled(tool.input, said)
        if servers is None:
            raise UnknownServer(tool.server)
        connection = await _ready(servers, hook, tool.server)
        if not connection.server.allows(tool.tool):
            return Ran(None, fault=f"tool '{tool.tool}' is disabled for MCP server '{tool.server}'")
        async with asyncio.timeout(hook.timeout_s):
            result = await connection.call_tool(tool.tool, arguments, meta={"threadId": thread_id})
    except _NotFound as error:
        return Ran(None, fault=f"hook input placeholder `${{{error}}}` was not found")
    except StartFailed:
        return Ran(None, fault="failed to get client")
    except (CallFailed, TimeoutError):
        return Ran(None, fault=f"tool call failed for `{tool.server}/{tool.tool}`")
    except McpServerError as error:
        return Ran(None, fault=str(error))
    text = "\n".join(
        part["text"]
        for part in result.get("content") or ()
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )
    if result.get("isError"):
        return Ran(None, fault=f"MCP tool returned an error: {text}")
    return Ran(0, text)


async def _ready(servers: McpServers, hook: Hook, name: str) -> Connection:
    """:raises StartFailed: it does not run, or not soon enough: the end of an interrupted turn waits for no start."""
    try:
        async with asyncio.timeout(hook.timeout_s if hook.event == "interrupt" else None):
            return await servers.ready(name)
    except TimeoutError:
        raise StartFailed(f"{name} is still starting") from None


def filled(value: Any, said: dict[str, Any]) -> Any:
    """`value` with each `${path.to.something}` in a string replaced; a string that is nothing else becomes what is there.

    Inside of a text, what is no text is written as JSON. Raises an exception with the path of one that is not there.
    """
    if isinstance(value, dict):
        return {key: filled(inner, said) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, said) for inner in value]
    if not isinstance(value, str):
        return value
    if whole := _PLACEHOLDER.fullmatch(value):
        return _found(whole[1], said)
    return _PLACEHOLDER.sub(lambda one: _text(_found(one[1], said)), value)


def _found(path: str, said: Any) -> Any:
    for name in path.split("."):
        if not isinstance(said, dict) or name not in said:
            raise _NotFound(path)
        said = said[name]
    return said


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
