"""The front's own methods: name -> handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from protocol.base import Wire
from supervisor.connection import Connection
from supervisor.handlers import accounts, feedback, handshake, limits, mcp, models, threads

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["HANDLERS", "Handler", "Request"]


class Request(msgspec.Struct, frozen=True):
    """A request that its handler answers. `lane` is the thread's, so that its lines stay in order."""

    connection: Connection
    id: bytes
    params: Any
    lane: str = ""


Handler = Callable[["Front", Connection, Any], "Wire | Awaitable[Wire]"]
"""Gets the decoded params; returns the result or an awaitable of it. What comes after the result is said by `after`."""

HANDLERS: dict[str, Handler] = {
    "initialize": handshake.initialize,
    "thread/loaded/list": threads.loaded_list,
    "thread/archive": threads.archive,
    "thread/delete": threads.delete,
    "thread/unsubscribe": threads.unsubscribe,
    "thread/metadata/update": threads.update_metadata,
    "thread/unarchive": threads.unarchive,
    "thread/name/set": threads.set_name,
    "model/list": models.list_,
    "config/mcpServer/reload": mcp.reload,
    "mcpServer/oauth/login": mcp.login,
    "feedback/upload": feedback.upload,
    "feedback/save": feedback.save,
    "account/read": accounts.read,
    "account/login/start": accounts.login,
    "account/login/cancel": accounts.cancel,
    "account/logout": accounts.logout,
    "account/rateLimits/read": limits.read,
    "account/usage/read": limits.usage,
    "getAuthStatus": accounts.status,
}
