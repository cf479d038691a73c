"""What became of a start or a request, in one line: servers, transports and the SDK fail in many ways."""

from __future__ import annotations

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from workers.mcp.errors import StartFailed
from workers.mcp.pipe import Pipe
from workers.mcp.web import Web

__all__ = ["closed_text", "first_problem", "is_closed", "start_text"]

HANDSHAKE = "handshaking with MCP server failed"


def is_closed(error: MCPError) -> bool:
    """Whether the SDK has said it; the code alone could be a server's own."""
    return error.code == types.CONNECTION_CLOSED and error.message == "Connection closed"


def closed_text(transport: Pipe | Web | None) -> str:
    """Why nothing can be asked any more."""
    return f"Transport closed{_last_words(transport)}"


def start_text(error: BaseException, transport: Pipe | Web | None) -> str:
    """Why a server could not be started, or talked to."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, StartFailed):
        return str(error)
    if isinstance(transport, Web) and transport.status:
        return f"{HANDSHAKE}: HTTP {transport.status}"
    if isinstance(error, MCPError):
        if is_closed(error):
            return f"{HANDSHAKE}: connection closed: initialize response{_last_words(transport)}"
        return f"{HANDSHAKE}: JSON-RPC error: {error.code}: {error.message}"
    if isinstance(error, ValidationError):
        return f"{HANDSHAKE}: an answer is not of the right form: {first_problem(error)}"
    return f"{HANDSHAKE}: {error}"


def first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])


def _last_words(transport: Pipe | Web | None) -> str:
    words = transport.last_words if isinstance(transport, Pipe) else ""
    return f" ({words})" if words else ""
