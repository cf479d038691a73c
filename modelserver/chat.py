"""A performance in the chunks of the Chat Completions API.

The first chunk carries the role, then come deltas of `reasoning_content`, `content` and `tool_calls`, a chunk
with the finish reason, a chunk with the usage where `stream_options.include_usage` asks for it, and
`data: [DONE]`. The API knows one message per answer: several messages of a script are joined by line feeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from modelserver.actions import Cut, Fail, Hang, Incomplete, Say, Sleep, Stream, Think
from modelserver.conversation import call_id
from modelserver.frames import FOREVER, PARTIAL, Break, Frame, Pause, numbered, pieces, words
from modelserver.playback import Performance
from modelserver.toolbox import Call

__all__ = ["ChatAnswer"]

_encode = msgspec.json.Encoder().encode
_FINISH_REASONS = {"max_output_tokens": "length"}
"""Reasons of `!incomplete` that the API spells differently; all others go out as they are."""


class ChatAnswer:
    """An answer to POST /v1/chat/completions. `unique` makes its ids differ from those of all others."""

    def __init__(self, performance: Performance, body: dict[str, Any], unique: str, created: int) -> None:
        self.performance = performance
        self.unique = unique
        self.head = {"id": f"chatcmpl-{unique}", "created": created, "model": body.get("model")}
        options = body.get("stream_options")
        self.with_usage = isinstance(options, dict) and options.get("include_usage") is True
        self.texts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
        self.calls: list[dict[str, Any]] = []
        self.error: dict[str, str] | None = None
        self.result: dict[str, Any] = {}
        before, _, after = self._choice({}).partition(b'"delta":{}')
        self.before, self.after = before + b'"delta":', after

    def frames(self) -> Iterator[Frame]:
        yield self._delta({"role": "assistant", "content": ""})
        reason = None
        for part in self.performance.parts:
            match part:
                case Say():
                    yield from self._text("content", words(part.text))
                case Think():
                    yield from self._text("reasoning_content", words(part.text))
                case Stream():
                    yield from self._text("content", numbered(part), Pause(part.seconds))
                case Call():
                    yield from self._call(part)
                case Sleep():
                    yield Pause(part.seconds)
                case Hang():
                    yield from self._text("content", words(PARTIAL))
                    yield FOREVER
                case Cut():
                    yield from self._text("content", words(PARTIAL))
                    yield Break(part.clean)
                    return
                case Fail():
                    self.error = {"message": part.message, "type": "server_error", "code": part.code}
                    yield b"data: %b\n\n" % _encode({"error": self.error})
                    return
                case Incomplete():
                    reason = _FINISH_REASONS.get(part.reason, part.reason)
        yield from self._end(reason or ("tool_calls" if self.calls else "stop"))

    def _choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self._chunk([choice], None)

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        chunk: dict[str, Any] = {**self.head, "object": "chat.completion.chunk", "choices": choices}
        if self.with_usage:
            chunk["usage"] = usage
        return b"data: %b\n\n" % _encode(chunk)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        """Make a chunk of which only the delta is encoded, the rest being the same in all of them."""
        return b"%b%b%b" % (self.before, _encode(delta), self.after)

    def _text(self, field: str, deltas: Iterable[str], pause: Pause | None = None) -> Iterator[Frame]:
        written = self.texts[field]
        joint = "\n" if written else ""
        for number, delta in enumerate(deltas):
            if number and pause is not None and pause.seconds:
                yield pause
            yield self._delta({field: joint + delta})
            written.append(joint + delta)
            joint = ""

    def _call(self, call: Call) -> Iterator[Frame]:
        index = len(self.calls)
        field = "input" if call.kind == "custom" else "arguments"
        name = call.name if call.namespace is None else f"{call.namespace}__{call.name}"
        head = {"id": call_id(self.unique, self.performance.step, index), "type": call.kind}
        yield self._delta({"tool_calls": [{"index": index, **head, call.kind: {"name": name, field: ""}}]})
        for piece in pieces(call.payload):
            yield self._delta({"tool_calls": [{"index": index, call.kind: {field: piece}}]})
        self.calls.append({**head, call.kind: {"name": name, field: call.payload}})

    def _end(self, reason: str) -> Iterator[Frame]:
        usage = self._usage()
        yield self._choice({}, reason)
        if self.with_usage:
            yield self._chunk([], usage)
        yield b"data: [DONE]\n\n"
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.texts["content"]) or None}
        if self.texts["reasoning_content"]:
            message["reasoning_content"] = "".join(self.texts["reasoning_content"])
        if self.calls:
            message["tool_calls"] = self.calls
        choice = {"index": 0, "message": message, "finish_reason": reason}
        self.result = {**self.head, "object": "chat.completion", "choices": [choice], "usage": usage}

    def _usage(self) -> dict[str, Any]:
        usage = self.performance.usage
        return {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        }
