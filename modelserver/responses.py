"""A performance in the events of the Responses API.

response.created
response.output_item.added                               for each item, then by its kind
    response.content_part.added, .output_text.delta ..., .output_text.done, .content_part.done
    response.reasoning_summary_part.added, .reasoning_summary_text.delta ..., .reasoning_summary_text.done,
        .reasoning_summary_part.done; response.reasoning_text.delta ..., .reasoning_text.done
    response.function_call_arguments.delta ..., .function_call_arguments.done
    response.custom_tool_call_input.delta ..., .custom_tool_call_input.done
response.output_item.done                                the finished item, the one that clients trust
response.completed | response.failed | response.incomplete
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec

from modelserver.actions import Cut, Fail, Hang, Incomplete, Say, Sleep, Stream, Think
from modelserver.conversation import call_id
from modelserver.frames import FOREVER, PARTIAL, Break, Frame, Pause, numbered, pieces, words
from modelserver.playback import Performance
from modelserver.toolbox import Call

__all__ = ["ResponsesAnswer", "event"]

_encode = msgspec.json.Encoder().encode
_ENCRYPTED = "c2NyaXB0ZWQ="
"""Stands for the encrypted reasoning of a real model; clients send it back and never look inside."""


def event(kind: str, **fields: Any) -> bytes:
    """Encode a server-sent event in full."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields}))


class _Deltas:
    """Makes events that differ in their delta only, without encoding the rest of them again."""

    def __init__(self, kind: str, **fields: Any) -> None:
        whole = event(kind, **fields)
        self.head = whole[: -len(b"}\n\n")] + b',"delta":'

    def __call__(self, deltas: Iterable[str]) -> Iterator[bytes]:
        for delta in deltas:
            yield b"%b%b}\n\n" % (self.head, _encode(delta))


class ResponsesAnswer:
    """An answer to POST /v1/responses. `unique` makes its ids differ from those of all others."""

    def __init__(self, performance: Performance, body: dict[str, Any], unique: str, created: int) -> None:
        self.performance = performance
        self.unique = unique
        include = body.get("include")
        self.encrypted = isinstance(include, list) and "reasoning.encrypted_content" in include
        self.output: list[dict[str, Any]] = []
        self.error: dict[str, str] | None = None
        self.result: dict[str, Any] = {
            "id": f"resp_{unique}",
            "object": "response",
            "created_at": created,
            "model": body.get("model"),
            "status": "in_progress",
            "output": [],
        }

    def frames(self) -> Iterator[Frame]:
        yield event("response.created", response=self.result)
        calls = 0
        for kind, group in groupby(self.performance.parts, type):
            if kind is Think:
                yield from self._reasoning([part for part in group if isinstance(part, Think)])
                continue
            for part in group:
                match part:
                    case Say():
                        yield from self._message(part)
                    case Stream():
                        yield from self._stream(part)
                    case Call():
                        yield from self._call(part, call_id(self.unique, self.performance.step, calls))
                        calls += 1
                    case Sleep():
                        yield Pause(part.seconds)
                    case Hang():
                        yield from self._partial()
                        yield FOREVER
                    case Cut():
                        yield from self._partial()
                        yield Break(part.clean)
                        return
                    case Fail():
                        error = {"code": part.code, "message": part.message}
                        yield self._end("failed", error=error)
                        return
                    case Incomplete():
                        details = {"reason": part.reason}
                        yield self._end("incomplete", incomplete_details=details, usage=self._usage())
                        return
        yield self._end("completed", usage=self._usage())

    def _end(self, status: str, **fields: Any) -> bytes:
        self.result |= {"status": status, "output": self.output, **fields}
        return event(f"response.{status}", response=self.result)

    def _usage(self) -> dict[str, Any]:
        usage = self.performance.usage
        return {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        }

    def _place(self, prefix: str) -> dict[str, Any]:
        """Make what every event of the next item carries."""
        index = len(self.output)
        return {"item_id": f"{prefix}_{self.unique}_{index}", "output_index": index}

    def _added(self, item: dict[str, Any]) -> bytes:
        return event("response.output_item.added", output_index=len(self.output), item=item)

    def _done(self, item: dict[str, Any]) -> bytes:
        self.output.append(item)
        return event("response.output_item.done", output_index=len(self.output) - 1, item=item)

    def _message(self, say: Say) -> Iterator[Frame]:
        place = self._place("msg")
        item = _message(place["item_id"], say.phase)
        yield from self._open(item, place)
        yield from _Deltas("response.output_text.delta", **place, content_index=0)(words(say.text))
        yield from self._close(item, place, say.text)

    def _stream(self, stream: Stream) -> Iterator[Frame]:
        place = self._place("msg")
        item = _message(place["item_id"])
        yield from self._open(item, place)
        pause = Pause(stream.seconds)
        deltas = _Deltas("response.output_text.delta", **place, content_index=0)
        for number, delta in enumerate(deltas(numbered(stream))):
            if number and stream.seconds:
                yield pause
            yield delta
        yield from self._close(item, place, "".join(numbered(stream)))

    def _partial(self) -> Iterator[Frame]:
        place = self._place("msg")
        yield from self._open(_message(place["item_id"]), place)
        yield from _Deltas("response.output_text.delta", **place, content_index=0)(words(PARTIAL))

    def _open(self, item: dict[str, Any], place: dict[str, Any]) -> Iterator[Frame]:
        yield self._added(item)
        part = {"type": "output_text", "text": "", "annotations": []}
        yield event("response.content_part.added", **place, content_index=0, part=part)

    def _close(self, item: dict[str, Any], place: dict[str, Any], text: str) -> Iterator[Frame]:
        part = {"type": "output_text", "text": text, "annotations": []}
        yield event("response.output_text.done", **place, content_index=0, text=text)
        yield event("response.content_part.done", **place, content_index=0, part=part)
        yield self._done({**item, "content": [part], "status": "completed"})

    def _reasoning(self, thinks: list[Think]) -> Iterator[Frame]:
        place = self._place("rs")
        item = {"type": "reasoning", "id": place["item_id"], "summary": [], "encrypted_content": None}
        summary = [think.text for think in thinks if not think.raw]
        raw = [think.text for think in thinks if think.raw]
        yield self._added(item)
        for index, text in enumerate(summary):
            at = {**place, "summary_index": index}
            part = {"type": "summary_text", "text": text}
            yield event("response.reasoning_summary_part.added", **at, part={**part, "text": ""})
            yield from _Deltas("response.reasoning_summary_text.delta", **at)(words(text))
            yield event("response.reasoning_summary_text.done", **at, text=text)
            yield event("response.reasoning_summary_part.done", **at, part=part)
        for index, text in enumerate(raw):
            at = {**place, "content_index": index}
            yield from _Deltas("response.reasoning_text.delta", **at)(words(text))
            yield event("response.reasoning_text.done", **at, text=text)
        done = {**item, "summary": [{"type": "summary_text", "text": text} for text in summary]}
        if self.encrypted:
            done["encrypted_content"] = _ENCRYPTED
        if raw:
            done["content"] = [{"type": "reasoning_text", "text": text} for text in raw]
        yield self._done(done)

    def _call(self, call: Call, identity: str) -> Iterator[Frame]:
        if call.kind == "search":
            item = {
                "type": "tool_search_call",
                "id": self._place("tsc")["item_id"],
                "call_id": identity,
                "execution": "client",
                "arguments": {"query": call.payload},
            }
            yield self._added(item)
            yield self._done({**item, "status": "completed"})
            return
        if call.kind == "custom":
            place, field, kind = self._place("ctc"), "input", "custom_tool_call"
            stem = "response.custom_tool_call_input"
        else:
            place, field, kind = self._place("fc"), "arguments", "function_call"
            stem = "response.function_call_arguments"
        item = {"type": kind, "id": place["item_id"], "call_id": identity, "name": call.name, field: ""}
        if call.namespace is not None:
            item["namespace"] = call.namespace
        yield self._added(item)
        yield from _Deltas(f"{stem}.delta", **place, call_id=identity)(pieces(call.payload))
        yield event(f"{stem}.done", **place, **{field: call.payload})
        yield self._done({**item, field: call.payload, "status": "completed"})


def _message(identity: str, phase: str | None = None) -> dict[str, Any]:
    item = {"type": "message", "role": "assistant", "id": identity, "content": [], "status": "in_progress"}
    return item if phase is None else {**item, "phase": phase}
