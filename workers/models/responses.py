"""The Responses API: the body of a request, and events out of its stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from workers.models.errors import ModelError, StreamCutError
from workers.models.events import (
    Completed,
    Created,
    ItemDone,
    MessageStarted,
    ModelEvent,
    ReasoningDelta,
    ReasoningStarted,
    SearchStarted,
    SummaryDelta,
    SummaryPartAdded,
    TextDelta,
    TokenUsage,
)
from workers.models.output_item import NAMED, nameless, readable
from workers.models.refusal import failed_response, incomplete_response
from workers.models.request import ModelRequest

__all__ = ["PATH", "ResponsesDecoder", "encode_request"]

PATH = "/responses"
SCHEMA_NAME = "codex_output_schema"


def encode_request(request: ModelRequest) -> bytes:
    """Encode the JSON body of `POST {base_url}/responses`. Keys are in the peer's order; what is not set is left out."""
    body: dict[str, Any] = {"model": request.model}
    if request.instructions:
        body["instructions"] = request.instructions
    body["stream"] = True
    body["input"] = request.input
    if request.tools:
        body["tools"] = request.tools
    body["tool_choice"] = "auto"
    body["parallel_tool_calls"] = request.parallel_tool_calls
    body["store"] = False
    if request.reasoning is not None:
        body["reasoning"] = request.reasoning
        # Without `store` a thought can only be continued if it comes back with the next request.
        body["include"] = ["reasoning.encrypted_content"]
    if request.prompt_cache_key is not None:
        body["prompt_cache_key"] = request.prompt_cache_key
    if request.service_tier is not None:
        body["service_tier"] = request.service_tier
    text: dict[str, Any] = {}
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    if request.output_schema is not None:
        text["format"] = {
            "type": "json_schema",
            "strict": True,
            "name": SCHEMA_NAME,
            "schema": request.output_schema,
        }
    if text:
        body["text"] = text
    return msgspec.json.encode(body)


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens: int = 0
    output_tokens_details: _OutputDetails | None = None
    total_tokens: int | None = None

    def counted(self) -> TokenUsage:
        read = self.input_tokens_details or _InputDetails()
        wrote = self.output_tokens_details or _OutputDetails()
        return TokenUsage(
            input=self.input_tokens,
            cached_input=read.cached_tokens or 0,
            cache_write_input=read.cache_write_tokens or 0,
            output=self.output_tokens,
            reasoning_output=wrote.reasoning_tokens or 0,
            total=self.input_tokens + self.output_tokens if self.total_tokens is None else self.total_tokens,
        )


class _IncompleteDetails(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str = ""
    usage: _Usage | None = None
    error: Any = None
    incomplete_details: _IncompleteDetails | None = None


class _Event(msgspec.Struct):
    type: str
    item_id: str | None = None
    delta: str = ""
    summary_index: int = 0
    content_index: int = 0
    item: dict[str, Any] | None = None
    response: _Response | None = None


class _TypeOnly(msgspec.Struct):
    type: str = ""


class ResponsesDecoder:
    """Turns the data of each server-sent event into events of ours. One for each response."""

    __slots__ = ("_message_id", "_open", "finished")

    tells_after_finish: ClassVar[bool] = False
    tail_s: ClassVar[float] = 0.1
    """How long the end of the HTTP body is waited for, which is what lets the connection be used again."""

    def __init__(self) -> None:
        self.finished = False
        self._open: set[str] = set()
        self._message_id = ""

    def feed(self, data: bytes) -> Sequence[ModelEvent]:
        """Give the events of one of theirs; raise the `ModelError` that it tells of. Unknown and unreadable ones are skipped."""
        if self.finished:
            return ()
        try:
            event = _EVENT.decode(data)
        except msgspec.ValidationError as error:
            if _type_of(data) == "response.completed":
                raise StreamCutError(f"failed to parse ResponseCompleted: {error}") from error
            return ()
        except (msgspec.DecodeError, RecursionError):
            return ()
        match event.type:
            case "response.output_text.delta":
                self._message_id = event.item_id or self._message_id or nameless("message")
                return self._grown(TextDelta(self._message_id, event.delta))
            case "response.reasoning_summary_text.delta":
                return (SummaryDelta(event.item_id or "", event.summary_index, event.delta),)
            case "response.reasoning_text.delta":
                return (ReasoningDelta(event.item_id or "", event.content_index, event.delta),)
            case "response.reasoning_summary_part.added":
                return (SummaryPartAdded(event.item_id or "", event.summary_index),)
            case "response.output_item.added":
                return self._added(event.item or {})
            case "response.output_item.done":
                return self._done(event.item or {})
            case "response.created":
                return () if event.response is None else (Created(event.response.id),)
            case "response.completed":
                self.finished = True
                response = event.response or _Response()
                return (Completed(response.id, response.usage.counted() if response.usage else None),)
            case "response.failed":
                raise failed_response(event.response.error if event.response else None)
            case "response.incomplete":
                response = event.response or _Response()
                details = response.incomplete_details
                cut_short = incomplete_response(details.reason if details else None)
                cut_short.usage = response.usage.counted() if response.usage else None
                raise cut_short
            case _:
                return ()

    def end(self) -> tuple[Sequence[ModelEvent], ModelError | None]:
        """At the end of the stream: what was left to tell, and the error if this is no good end."""
        return (), None if self.finished else StreamCutError()

    def _added(self, item: dict[str, Any]) -> Sequence[ModelEvent]:
        item_id = item.get("id")
        if not isinstance(item_id, str):
            return ()
        match item.get("type"):
            case "message":
                self._open.add(item_id)
                self._message_id = item_id
                phase = item.get("phase")
                return (MessageStarted(item_id, phase if isinstance(phase, str) else None),)
            case "reasoning":
                return (ReasoningStarted(item_id),)
            case "web_search_call":
                return (SearchStarted(item_id, item.get("action")),)
            case _:
                return ()

    def _done(self, item: dict[str, Any]) -> Sequence[ModelEvent]:
        """What cannot be read is no item, as with the peer, which also gives a name to what has none."""
        if not readable(item):
            return ()
        kind = item["type"]
        begun = ""
        if kind == "message":
            begun, self._message_id = self._message_id, ""
        if kind in NAMED and not item.get("id"):
            item = {**item, "id": begun or nameless(kind)}
        return (ItemDone(item),)

    def _grown(self, delta: TextDelta) -> Sequence[ModelEvent]:
        if delta.item_id in self._open:
            return (delta,)
        # A server that does not announce its items.
        self._open.add(delta.item_id)
        return (MessageStarted(delta.item_id), delta)


def _type_of(data: bytes) -> str:
    try:
        return _TYPE.decode(data).type
    except (msgspec.DecodeError, RecursionError):
        return ""


_EVENT = msgspec.json.Decoder(_Event)
_TYPE = msgspec.json.Decoder(_TypeOnly)
