"""What only a client can do: tools that it runs, questions to its user."""

from __future__ import annotations

from typing import Any

from protocol.base import Params, Wire
from protocol.tool_content import ToolContent

__all__ = [
    "DynamicFunction",
    "DynamicNamespace",
    "DynamicTool",
    "DynamicToolCallParams",
    "DynamicToolCallResponse",
    "ToolRequestUserInputAnswer",
    "ToolRequestUserInputOption",
    "ToolRequestUserInputParams",
    "ToolRequestUserInputQuestion",
    "ToolRequestUserInputResponse",
]


class DynamicFunction(Params, kw_only=True, omit_defaults=True, tag_field="type", tag="function"):
    """A tool of the client's. `input_schema`: JSON Schema of the arguments. Stored as the peer does: without defaults."""

    name: str
    description: str
    input_schema: Any
    defer_loading: bool = False


class DynamicNamespace(Params, kw_only=True, tag_field="type", tag="namespace"):
    name: str
    description: str
    tools: list[DynamicFunction]


DynamicTool = DynamicFunction | DynamicNamespace


class DynamicToolCallParams(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    call_id: str
    namespace: str | None = None
    tool: str
    arguments: Any


class DynamicToolCallResponse(Params, kw_only=True):
    content_items: list[ToolContent]
    success: bool


class ToolRequestUserInputOption(Wire, kw_only=True):
    label: str
    description: str


class ToolRequestUserInputQuestion(Wire, kw_only=True):
    """`is_other`: the user may write an answer of his own; `is_secret`: it is not to be shown."""

    id: str
    header: str
    question: str
    is_other: bool = False
    is_secret: bool = False
    options: list[ToolRequestUserInputOption] | None = None


class ToolRequestUserInputParams(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    questions: list[ToolRequestUserInputQuestion]
    is_blocking: bool = True
    auto_resolution_ms: int | None = None


class ToolRequestUserInputAnswer(Params, kw_only=True):
    answers: list[str]


class ToolRequestUserInputResponse(Params, kw_only=True):
    """`answers`: by the question's id."""

    answers: dict[str, ToolRequestUserInputAnswer]
