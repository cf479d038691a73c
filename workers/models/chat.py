"""The stream of the Chat Completions API, turned into the events and items of the Responses API.

Tolerated, since servers do it: arguments as an object, calls without an id or an index or all with the index 0, blank
text before a call, usage in any chunk or none, no `[DONE]`, and no end of the body after the last chunk.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from workers.models.chat_chunk import CHUNK, CallDelta, Delta, Usage, text_of
from workers.models.chat_request import ChatTools
from workers.models.errors import ModelError, StreamCutError
from workers.models.events import (
    Completed,
    Created,
    ItemDone,
    MessageStarted,
    ModelEvent,
    ReasoningDelta,
    ReasoningStarted,
    TextDelta,
)
from workers.models.refusal import failed_response, incomplete_response

__all__ = ["ChatDecoder"]

LAST_CHUNK_S = 2.0
END_OF_BODY_S = 0.1

_DONE = b"[DONE]"
# What the APIs call the same thing.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class _Call:
    """A call while its arguments arrive."""

    __slots__ = ("arguments", "index", "name", "server_id")

    def __init__(self, index: int | None, server_id: str | None) -> None:
        self.index = index
        self.server_id = server_id
        self.name = ""
        self.arguments: list[str] = []

    def is_whole(self) -> bool:
        try:
            msgspec.json.decode("".join(self.arguments))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class ChatDecoder:
    """Turns the data of each server-sent event into events of ours. One for each response.

    `taken` are the call ids of the history: some servers count from zero in every response, and an id names one call of
    a thread.
    """

    tells_after_finish: ClassVar[bool] = True

    __slots__ = (
        "_all_said",
        "_blank",
        "_calls",
        "_finish",
        "_item_id",
        "_kind",
        "_response_id",
        "_taken",
        "_text",
        "_tools",
        "_usage",
        "finished",
    )

    def __init__(self, tools: ChatTools, taken: Collection[str] = ()) -> None:
        self.finished = False
        self._all_said = False
        self._tools = tools
        self._taken = set(taken)
        self._response_id: str | None = None
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._calls: list[_Call] = []
        # The one item that is growing: there is at most one, of text or of thoughts.
        self._kind: Literal["message", "reasoning"] | None = None
        self._item_id = ""
        self._text: list[str] = []
        self._blank = ""

    def feed(self, data: bytes) -> Sequence[ModelEvent]:
        """Give the events of one chunk; raise the `ModelError` that it tells of. Chunks that can not be read are skipped."""
        if data == _DONE:
            self.finished = self._all_said = True
            return ()
        try:
            chunk = CHUNK.decode(data)
        except (msgspec.DecodeError, RecursionError):
            return ()
        if chunk.error:
            raise failed_response(
                chunk.error if isinstance(chunk.error, dict) else {"message": str(chunk.error)}
            )
        events: list[ModelEvent] = []
        if self._response_id is None:
            self._response_id = chunk.id or _made_up("chatcmpl")
            events.append(Created(self._response_id))
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            if choice.delta is not None:
                self._take(choice.delta, events)
            if choice.finish_reason:
                self._finish = choice.finish_reason
                self.finished = True
        return events

    @property
    def tail_s(self) -> float:
        """How long more of the stream is waited for once it is `finished`: for usage, then for the end of the body."""
        return END_OF_BODY_S if self._all_said or self._usage is not None else LAST_CHUNK_S

    def end(self) -> tuple[Sequence[ModelEvent], ModelError | None]:
        """At the end of the stream: what was left to tell, and the error if this is no good end."""
        if not self.finished:
            return (), StreamCutError()
        events: list[ModelEvent] = []
        self._close(events)
        reason = _INCOMPLETE.get(self._finish or "")
        if reason is not None:
            # The text is worth keeping; calls that were cut short are not to be run.
            return events, incomplete_response(reason)
        events += [ItemDone(self._settled(call)) for call in self._calls if call.name]
        response_id = self._response_id or _made_up("chatcmpl")
        events.append(Completed(response_id, self._usage.counted() if self._usage else None))
        return events, None

    def _take(self, delta: Delta, events: list[ModelEvent]) -> None:
        thought = text_of(delta.reasoning_content or delta.reasoning)
        if thought:
            self._open("reasoning", events)
            self._text.append(thought)
            events.append(ReasoningDelta(self._item_id, 0, thought))
        said = text_of(delta.content) or delta.refusal
        if said:
            self._say(said, events)
        for call in delta.tool_calls or ():
            self._called(call)

    def _say(self, said: str, events: list[ModelEvent]) -> None:
        if self._kind != "message":
            # Line breaks between thoughts and calls are no message.
            said = self._blank + said
            self._blank = ""
            if said.isspace():
                self._blank = said
                return
            self._open("message", events)
        self._text.append(said)
        events.append(TextDelta(self._item_id, said))

    def _open(self, kind: Literal["message", "reasoning"], events: list[ModelEvent]) -> None:
        if self._kind == kind:
            return
        self._close(events)
        self._kind = kind
        self._item_id = _made_up("msg" if kind == "message" else "rs")
        events.append(MessageStarted(self._item_id) if kind == "message" else ReasoningStarted(self._item_id))

    def _close(self, events: list[ModelEvent]) -> None:
        if self._kind is None:
            return
        text = "".join(self._text)
        if self._kind == "message":
            part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
            item: dict[str, Any] = {
                "type": "message",
                "id": self._item_id,
                "role": "assistant",
                "content": [part],
            }
        else:
            part = {"type": "reasoning_text", "text": text}
            item = {"type": "reasoning", "id": self._item_id, "summary": [], "content": [part]}
        events.append(ItemDone(item))
        self._kind = None
        self._text.clear()

    def _called(self, delta: CallDelta) -> None:
        call = self._call_of(delta)
        function = delta.function
        if function is None:
            return
        if function.name and not call.name:
            call.name = function.name
        if isinstance(function.arguments, str):
            call.arguments.append(function.arguments)
        elif function.arguments is not None:
            call.arguments.append(msgspec.json.encode(function.arguments).decode())

    def _call_of(self, delta: CallDelta) -> _Call:
        """Find the call a delta belongs to: a new one if its index or id is new, else the one it names, or the last."""
        server_id = None if delta.id in (None, "") else str(delta.id)
        for call in reversed(self._calls):
            same_index = delta.index is not None and call.index == delta.index
            if server_id is not None and call.server_id not in (None, server_id):
                continue
            if same_index or (delta.index is None and server_id in (None, call.server_id)):
                # Whole calls without an id under one index: that the last one is whole tells them apart.
                if (
                    server_id is None
                    and delta.function is not None
                    and delta.function.name
                    and call.is_whole()
                ):
                    break
                call.server_id = call.server_id or server_id
                return call
        call = _Call(delta.index, server_id)
        self._calls.append(call)
        return call

    def _settled(self, call: _Call) -> dict[str, Any]:
        call_id = call.server_id
        if call_id is None or call_id in self._taken:
            call_id = _made_up("call")
        self._taken.add(call_id)
        item = self._tools.call(call.name, "".join(call.arguments) or "{}")
        kind = "ctc" if item["type"] == "custom_tool_call" else "fc"
        return {"id": _made_up(kind), "call_id": call_id, "status": "completed", **item}


def _made_up(prefix: str) -> str:
    return f"{prefix}_{os.urandom(12).hex()}"
