"""What an MCP server finds around it: where it is started, who answers its questions, who gives it credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

__all__ = ["Elicit", "Surroundings", "declines"]

Elicit = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Gets the server's name and the params of its `elicitation/create`; returns the result."""

Authorize = Callable[[str, str, bool], Awaitable[str | None]]
"""Gets a server's name, its URL, and whether what was given last was refused; returns an access token or None."""


async def declines(server: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """For servers that nobody could answer."""
    return {"action": "decline"}


async def has_none(server: str, url: str, refused: bool) -> str | None:
    """No login is known."""
    return None


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """`processes`: where programs are written down, so that a later server can end what this one left."""

    cwd: str
    environ: Mapping[str, str]
    processes: str = ""
    elicit: Elicit = declines
    authorize: Authorize = has_none
