"""What an MCP server finds around it: where it is started, who answers its questions, who has its tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

__all__ = ["Elicit", "Surroundings", "declines"]

Elicit = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Gets the server's name and the params of its `elicitation/create`; returns the result."""


Authorize = Callable[[str, str], Awaitable[str | None]]
"""Gets a server's name and its URL; returns an access token, or None if nobody has logged in to it."""


async def declines(server: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """For servers that nobody could answer."""
    return {"action": "decline"}


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """`processes`: where programs are written down, so that a later server can end what this one left."""

    cwd: str
    environ: Mapping[str, str]
    processes: str = ""
    authorize: Authorize
    elicit: Elicit = declines
