"""Access tokens for MCP servers, from the front, which alone has logins."""

from __future__ import annotations

import msgspec

from protocol.link_calls import McpTokenAnswer, McpTokenCall
from workers.link import Link
from workers.mcp.surroundings import Authorize

__all__ = ["authorization_by"]


def authorization_by(link: Link) -> Authorize:
    async def authorize(name: str, url: str) -> str | None:
        answer = await link.call(msgspec.json.encode(McpTokenCall(name=name, url=url)))
        return msgspec.json.decode(answer, type=McpTokenAnswer).token

    return authorize
