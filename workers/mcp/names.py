"""What models call the tools of MCP servers: a namespace for each server, in letters that their API allows."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from workers.tools.tool import function_of

__all__ = ["OfferedTool", "offered_tools"]

PREFIX = "mcp__"
NAME_LIMIT = 64
"""Of namespace and name together, with what joins them."""
HASH_LENGTH = 12
JOIN = "__"
_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_]")


class OfferedTool(msgspec.Struct, frozen=True, kw_only=True):
    """`namespace`, `name`: the model's; `server`, `tool`: their own. `declared`: as the server lists it."""

    server: str
    tool: str
    namespace: str
    name: str
    declared: dict[str, Any]

    @property
    def flat_name(self) -> str:
        """Where there are no namespaces."""
        return f"{self.namespace}{JOIN}{self.name}"

    @property
    def annotations(self) -> dict[str, Any]:
        given = self.declared.get("annotations")
        return given if isinstance(given, dict) else {}

    @property
    def description(self) -> str:
        return str(self.declared.get("description") or "")

    def definition(self) -> dict[str, Any]:
        return function_of(self.name, self.description, _parameters(self.declared.get("inputSchema")))


def _parameters(schema: Any) -> dict[str, Any]:
    """A schema that every model's API takes: an object, with properties."""
    if not isinstance(schema, dict):
        schema = {}
    return {"type": "object", "properties": {}, **schema}


def offered_tools(servers: Iterable[tuple[str, Iterable[dict[str, Any]]]]) -> list[OfferedTool]:
    """The tools of all servers, each with a name that is only its own; sorted, so that it is the same every time."""
    listed = sorted(
        ((server, tool) for server, tools in servers for tool in tools),
        key=lambda pair: (pair[0], pair[1]["name"]),
    )
    spaces = Counter(_clean(server) for server in {server for server, _ in listed})
    names = Counter((server, _clean(tool["name"])) for server, tool in listed)
    taken: set[str] = set()
    found: list[OfferedTool] = []
    for server, tool in listed:
        space, name = _clean(server), _clean(tool["name"])
        identity = f"{server}\0{tool['name']}"
        if spaces[space] > 1:
            space = _marked(space, server)
        if names[server, name] > 1:
            name = _marked(name, identity)
        space = PREFIX + space
        if len(space) + len(JOIN) + len(name) > NAME_LIMIT:
            space = _cut(space, server, NAME_LIMIT // 2 - len(JOIN))
        room = NAME_LIMIT - len(JOIN) - len(space)
        name = _cut(name, identity, room)
        if f"{space}{JOIN}{name}" in taken:
            # The underscores of one server's name and those of another's tool: `a__b` + `c`, `a` + `b__c`.
            name = _marked(name[: room - HASH_LENGTH - 1], identity)
        taken.add(f"{space}{JOIN}{name}")
        found.append(OfferedTool(server=server, tool=tool["name"], namespace=space, name=name, declared=tool))
    return found


def _clean(name: str) -> str:
    return _FORBIDDEN.sub("_", name) or "_"


def _marked(name: str, identity: str) -> str:
    digest = hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()
    return f"{name}_{digest[:HASH_LENGTH]}"


def _cut(name: str, identity: str, limit: int) -> str:
    return name if len(name) <= limit else _marked(name[: limit - HASH_LENGTH - 1], identity)
