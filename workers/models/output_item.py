"""What the items of a response must have before anything else looks at them. Servers that only resemble the API get it wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from rollouts.ids import new_id

__all__ = ["FORMS", "NAMED", "nameless", "readable"]

NAMED = {"message": "msg_", "reasoning": "rs_", "web_search_call": "ws_"}
"""The kinds that clients see under their own ids, and how these begin."""


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: list[_Part]
    id: str | None = None


class _Reasoning(msgspec.Struct):
    id: str | None = None
    summary: list[_Part] | None = None
    content: list[_Part] | None = None


class _FunctionCall(msgspec.Struct):
    call_id: str
    name: str
    arguments: str
    namespace: str | None = None


class _CustomCall(msgspec.Struct):
    call_id: str
    name: str
    input: str


class _WebSearch(msgspec.Struct):
    id: str | None = None


FORMS: dict[str, type[msgspec.Struct]] = {
    "message": _Message,
    "reasoning": _Reasoning,
    "function_call": _FunctionCall,
    "custom_tool_call": _CustomCall,
    "web_search_call": _WebSearch,
}


def readable(item: dict[str, Any]) -> bool:
    """Whether it has the form of its kind. Of kinds that are not known here nothing is asked but that they are named."""
    kind = item.get("type")
    if not isinstance(kind, str):
        return False
    form = FORMS.get(kind)
    if form is not None:
        try:
            msgspec.convert(item, form)
        except msgspec.ValidationError:
            return False
    return True


def nameless(kind: str) -> str:
    """An id for an item of one of the kinds in `NAMED` that came without."""
    return NAMED[kind] + new_id()
