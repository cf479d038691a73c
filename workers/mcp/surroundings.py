"""What an MCP server finds around it: where it is started, who answers its questions, who has its tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

__all__ = ["Elicit", "Surroundings", "declines"]

Elicit = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Gets the server's name and the params of its `elicitation/create`; returns the result."""


Authorize = Callable[[str, str, str | None], Awaitable[tuple[str, str] | None]]
"""Gets a server's name, its URL, and the mark of a token that it takes no more; returns an access token and its mark, which
names it without telling it, or None if nobody has logged in to the server."""


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
