"""`tool_search`: the model looks for tools of MCP servers in place of having all of them in every request."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from workers.mcp.names import OfferedTool
from workers.tools.tool import record

__all__ = ["definition", "namespaces", "search"]

DEFAULT_LIMIT = 8
K1, B = 1.2, 0.75
"""Of BM25, as usual: how soon a repeated word says nothing new, and how much a long text is held against it."""
_WORD = re.compile(r"[a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Query(msgspec.Struct):
    query: str
    limit: int | None = None


def definition() -> Mapping[str, Any]:
    return {
        "type": "tool_search",
        "execution": "client",
        "description": (
            "Finds tools by words of their names and descriptions; those that are found can be called from then on. "
            "Not all tools are listed here: the ones of MCP servers are found with this, "
            "not with list_mcp_resources or list_mcp_resource_templates."
        ),
        "parameters": record(
            {
                "query": {"type": "string", "description": "What the tool is to do, or its name."},
                "limit": {
                    "type": "number",
                    "description": f"At most so many tools; default {DEFAULT_LIMIT}.",
                },
            },
            required=["query"],
        ),
    }


def namespaces(
    tools: Sequence[OfferedTool], descriptions: Mapping[str, str], *, deferred: bool = False
) -> list[dict[str, Any]]:
    """Tools as a request lists them: by server. `descriptions`: by the server's name."""
    spaces: dict[str, dict[str, Any]] = {}
    for tool in tools:
        space = spaces.setdefault(
            tool.namespace,
            {
                "type": "namespace",
                "name": tool.namespace,
                "description": descriptions.get(tool.server) or f"Tools in the {tool.namespace} namespace.",
                "tools": [],
            },
        )
        definition = tool.definition()
        if deferred:
            definition["defer_loading"] = True
        space["tools"].append(definition)
    return list(spaces.values())


def search(tools: Sequence[OfferedTool], arguments: Any) -> list[OfferedTool]:
    """The tools that fit best, the best first; none for a query that cannot be understood."""
    try:
        if isinstance(arguments, str):
            arguments = msgspec.json.decode(arguments)
        asked = msgspec.convert(arguments, Query, strict=False)
    except (msgspec.MsgspecError, RecursionError):
        return []
    words = set(_words(asked.query))
    texts = [Counter(_words(_text(tool))) for tool in tools]
    if not words or not texts:
        return []
    mean = sum(text.total() for text in texts) / len(texts)
    rarity = {word: _rarity(sum(word in text for text in texts), len(texts)) for word in words}
    scored = [(_score(text, rarity, mean), tool) for text, tool in zip(texts, tools, strict=True)]
    best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].flat_name))
    limit = DEFAULT_LIMIT if asked.limit is None else max(1, asked.limit)
    return [tool for _, tool in best[:limit]]


def _score(text: Counter[str], rarity: Mapping[str, float], mean: float) -> float:
    length = K1 * (1 - B + B * text.total() / mean)
    return sum(rare * text[word] * (K1 + 1) / (text[word] + length) for word, rare in rarity.items())


def _rarity(holding: int, of: int) -> float:
    return math.log(1 + (of - holding + 0.5) / (holding + 0.5))


def _text(tool: OfferedTool) -> str:
    schema = tool.declared.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    names = " ".join(properties) if isinstance(properties, dict) else ""
    return f"{tool.server} {tool.tool} {tool.declared.get('title') or ''} {tool.description} {names}"


def _words(text: str) -> list[str]:
    return _WORD.findall(_HUMP.sub(" ", text).lower())
