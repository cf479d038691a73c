"""An answer on its way to the client: the frames of a performance become the body of an HTTP response.

No task per event: one task per answer writes, a second one waits for the client to leave. Events are written
in one piece up to the next pause, so two hundred streams at a time cost little more than their bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from modelserver.frames import Answer, Break, Frame, Pause
from modelserver.journal import Entry, Journal, State

__all__ = ["Audience", "Delivery"]

CHUNK = 16 * 1024
"""Bytes after which a body without pauses is written and others get their turn."""
FAILED_STATUS = 500
"""The status of a scripted failure where the API has no object for it."""


class Audience:
    """The client of one answer: here, or gone. The end of the server counts as gone."""

    def __init__(self) -> None:
        self.gone = False
        self._pause: asyncio.Future[None] | None = None

    def leave(self) -> None:
        self.gone = True
        self._resume()

    async def pause(self, seconds: float) -> bool:
        """Wait; True when the client is still there afterwards. Infinite pauses end with the client only."""
        if self.gone:
            return False
        loop = asyncio.get_running_loop()
        self._pause = loop.create_future()
        timer = loop.call_later(seconds, self._resume) if seconds != float("inf") else None
        try:
            await self._pause
        finally:
            if timer is not None:
                timer.cancel()
        return not self.gone

    def _resume(self) -> None:
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)


class Delivery(Response):
    """Sends an answer, as a stream of events or as one object, and notes in the journal how it ended."""

    def __init__(
        self,
        answer: Answer,
        *,
        streamed: bool,
        headers: tuple[tuple[str, str], ...],
        journal: Journal,
        entry: Entry,
        audiences: set[Audience],
    ) -> None:
        super().__init__()
        self.answer = answer
        self.streamed = streamed
        self.extra = [(name.encode(), value.encode()) for name, value in headers]
        self.journal = journal
        self.entry = entry
        self.audiences = audiences
        self.audience = Audience()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.audiences.add(self.audience)
        watcher = asyncio.create_task(self._watch(receive))
        state: State = "gone"
        try:
            state = await (self._stream(send) if self.streamed else self._whole(send))
        finally:
            # Before anything is awaited: a client that has its answer must find it settled in the log.
            self.audiences.discard(self.audience)
            self.journal.settled(self.entry, state)
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.audience.leave()

    async def _head(self, send: Send, status: int, content_type: bytes) -> None:
        headers = [(b"content-type", content_type), (b"cache-control", b"no-cache"), *self.extra]
        self.journal.answered(self.entry, status)
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def _stream(self, send: Send) -> State:
        await self._head(send, 200, b"text/event-stream")
        buffer = bytearray()
        for frame in self.answer.frames():
            if isinstance(frame, bytes):
                buffer += frame
                if len(buffer) < CHUNK:
                    continue
            if buffer:
                await send({"type": "http.response.body", "body": bytes(buffer), "more_body": True})
                buffer.clear()
            if isinstance(frame, Break) and not frame.clean:
                return "cut"
            if isinstance(frame, Break):
                await send({"type": "http.response.body", "body": b""})
                return "cut"
            # A pause of no length still gives the others their turn.
            if not await self.audience.pause(frame.seconds if isinstance(frame, Pause) else 0.0):
                return "gone"
        await send({"type": "http.response.body", "body": bytes(buffer)})
        return "done"

    async def _whole(self, send: Send) -> State:
        for pause in _pauses(self.answer.frames()):
            if isinstance(pause, Break):
                # An object cannot end early in order: it is torn after its first byte.
                await self._head(send, 200, b"application/json")
                await send({"type": "http.response.body", "body": b"{", "more_body": True})
                return "cut"
            if not await self.audience.pause(pause.seconds):
                return "gone"
        failed = self.answer.error
        await self._head(send, 200 if failed is None else FAILED_STATUS, b"application/json")
        whole = self.answer.result if failed is None else {"error": failed}
        await send({"type": "http.response.body", "body": msgspec.json.encode(whole)})
        return "done"


def _pauses(frames: Iterator[Frame]) -> Iterator[Pause | Break]:
    return (frame for frame in frames if not isinstance(frame, bytes))
