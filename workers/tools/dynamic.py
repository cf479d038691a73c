"""Tools that the client brings with `thread/start` and runs itself: `item/tool/call`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from protocol.client_tools import (
    DynamicFunction,
    DynamicTool,
    DynamicToolCallParams,
    DynamicToolCallResponse,
)
from protocol.items import DynamicToolCallItem
from protocol.tool_content import InputAudioContent, InputImageContent, InputTextContent, ToolContent
from workers.approvals import Misshapen, Unanswerable
from workers.tools.tool import Call, ToolRefused, TurnScope, function_of

__all__ = ["call_dynamic", "dynamic_definitions", "find_dynamic"]

FAILED = "dynamic tool request failed"
MISSHAPEN = "dynamic tool response was invalid"


def dynamic_definitions(tools: Sequence[DynamicTool]) -> Iterator[Mapping[str, Any]]:
    for tool in tools:
        if isinstance(tool, DynamicFunction):
            yield _definition(tool)
        else:
            yield {
                "type": "namespace",
                "name": tool.name,
                "description": tool.description,
                "tools": [_definition(inner) for inner in tool.tools],
            }


def _definition(tool: DynamicFunction) -> Mapping[str, Any]:
    return function_of(tool.name, tool.description, tool.input_schema)


def find_dynamic(tools: Sequence[DynamicTool], call: Call) -> bool:
    """Whether the call is for one of the client's tools."""
    for tool in tools:
        if isinstance(tool, DynamicFunction):
            if call.namespace is None and tool.name == call.name:
                return True
        elif call.namespace == tool.name and any(inner.name == call.name for inner in tool.tools):
            return True
    return False


async def call_dynamic(scope: TurnScope, call: Call) -> str | list[dict[str, Any]]:
    """Have the client run it.

    Raises:
        ToolRefused: the arguments are no JSON.
    """
    session = scope.session
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise ToolRefused(f"failed to parse function arguments: {error}") from None
    item = DynamicToolCallItem(
        id=call.id, namespace=call.namespace, tool=call.name, arguments=arguments, status="inProgress"
    )
    session.item_started(scope.turn_id, item)
    started = time.monotonic()
    # What stands if the turn is interrupted meanwhile.
    item.status, item.success, item.content_items = "failed", False, []
    answer: str | list[dict[str, Any]] = FAILED
    try:
        response = await scope.approvals.ask(
            "item/tool/call",
            DynamicToolCallParams(
                thread_id=session.id,
                turn_id=scope.turn_id,
                call_id=call.id,
                namespace=call.namespace,
                tool=call.name,
                arguments=arguments,
            ),
            DynamicToolCallResponse,
            quiet=True,
        )
    except Unanswerable as error:
        answer = MISSHAPEN if isinstance(error, Misshapen) else FAILED
        item.content_items = [InputTextContent(text=answer)]
    else:
        item.status = "completed" if response.success else "failed"
        item.success = response.success
        item.content_items = response.content_items
        answer = [_part(content) for content in response.content_items]
        texts = [content.text for content in response.content_items if isinstance(content, InputTextContent)]
        if len(texts) == len(response.content_items) == 1:
            answer = texts[0]
    finally:
        item.duration_ms = int((time.monotonic() - started) * 1000)
        session.item_completed(scope.turn_id, item)
    return answer


def _part(content: ToolContent) -> dict[str, Any]:
    match content:
        case InputTextContent():
            return {"type": "input_text", "text": content.text}
        case InputImageContent():
            return {"type": "input_image", "image_url": content.image_url}
        case InputAudioContent():
            return {"type": "input_text", "text": "audio content omitted: this model does not take it"}
