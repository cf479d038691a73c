"""Access tokens for MCP servers, from the front, which alone has logins."""

from __future__ import annotations

import msgspec

from protocol.link_calls import McpTokenAnswer, McpTokenCall
from workers.link import Link
from workers.mcp.surroundings import Authorize

__all__ = ["authorization_by"]


def authorization_by(link: Link) -> Authorize:
    async def authorize(name: str, url: str, refused: str | None) -> tuple[str, str] | None:
        asked = McpTokenCall(name=name, url=url, refused=refused)
        answer = msgspec.json.decode(await link.call(msgspec.json.encode(asked)), type=McpTokenAnswer)
        return None if answer.token is None else (answer.token, answer.mark)

    return authorize
