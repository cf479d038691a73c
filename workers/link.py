"""The worker's end of the wire to the front: control frames in, the stream out.

What is said goes into the event log at once and to the socket as far as there is credit; whoever produces much asks
`ready()` first, so that a client which does not read holds up the model's stream and not somebody's memory.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import zmq

from protocol.base import Wire
from protocol.link import Frame, Record, pack_frame, pack_record, unpack_frame
from protocol.rpc import notification_line
from workers.eventlog import ROTATE_BYTES, EventLog

__all__ = ["Link"]

FrameHandler = Callable[[int, int, bytes], None]
NOBLOCK, POLLIN = int(zmq.NOBLOCK), int(zmq.POLLIN)
"""Plain numbers: an operation on an enumeration's members costs more than what is sent with them."""
LINGER_MS = 500
"""How long the last words may take at an orderly end; a killed worker's are in its log."""


def _nobody(kind: int, number: int, payload: bytes) -> None:
    """Nothing is expected before somebody listens."""


class Link:
    """One DEALER socket. Frames other than credit and ping are handed to `on_frame`."""

    def __init__(self, token: bytes, endpoint: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = zmq.Context(1)
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, token)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        # Bounded by credits instead: a blocking send at the high-water mark would freeze the loop.
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.connect(endpoint)
        self.on_frame: FrameHandler = _nobody
        self._log: EventLog | None = None
        self._credit = 0
        self._window = 0
        self._offset = 0
        self._sent = 0
        self._fresh: list[bytes] = []
        self._unsent: deque[bytes] = deque()
        self._flushing = False
        self._armed = False
        self._closed = False
        self._lost = False
        """Whether something that was said could not be logged."""
        self._open = asyncio.Event()
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._call_numbers = itertools.count(1)
        loop.add_reader(self._socket.FD, self._drain)
        loop.call_soon(self._drain)

    def hello(self, pid: int) -> None:
        self._send(Frame.HELLO, pid)

    def begin(self, credit: int, log_path: str) -> None:
        """Adopted: from now on there is something to say. Without a path nothing is logged (catalog workers)."""
        self._credit = self._window = credit
        self._log = EventLog(log_path) if log_path else None
        self._open.set()

    # --- the stream --------------------------------------------------------------------------------------

    def say(self, kind: Record, key: int, payload: bytes) -> None:
        """Append a record; what is said within one round of the loop is logged and sent together."""
        self._fresh.append(pack_record(kind, key, payload))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def notify(self, method: str, params: Wire) -> None:
        """A notification for all clients of the thread."""
        self.say(Record.EVENTS, 0, notification_line(method, params))

    def flush(self) -> None:
        self._flushing = False
        if not self._fresh:
            return
        if self._lost:
            self._fresh.clear()
            return
        self._rotate()
        piece = b"".join(self._fresh)
        self._fresh.clear()
        if self._log is not None:
            try:
                self._log.append(piece)
            except OSError:
                # Nothing that comes after what is lost may be heard: the process ends, and the front says so.
                self._lost = True
                raise
        self._offset += len(piece)
        self._unsent.append(piece)
        self._push()

    def _rotate(self) -> None:
        """Begin the log anew if the clients have everything that is in it: the whole window came back."""
        log = self._log
        if log is not None and log.size > ROTATE_BYTES and not self._unsent and self._credit == self._window:
            self._fresh.insert(0, log.begin_anew(self._offset))

    def _push(self) -> None:
        while self._unsent and self._credit > 0:
            piece = self._unsent.popleft()
            self._credit -= len(piece)
            self._send(Frame.STREAM, self._sent, piece)
            self._sent += len(piece)
        if self._unsent or self._credit <= 0:
            self._open.clear()

    @property
    def congested(self) -> bool:
        return not self._open.is_set()

    async def ready(self) -> None:
        """Wait until the clients have taken enough of what was said."""
        await self._open.wait()

    def grant(self, amount: int) -> None:
        self._credit += amount
        self._push()
        if not self._unsent and self._credit > 0:
            self._open.set()

    # --- control ------------------------------------------------------------------------------------------

    async def call(self, payload: bytes) -> bytes:
        """Ask the front for something that only it may hold."""
        number = next(self._call_numbers)
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._calls[number] = answer
        self._send(Frame.CALL, number, payload)
        try:
            return await answer
        finally:
            self._calls.pop(number, None)

    def tell(self, payload: bytes) -> None:
        """As `call`, where no answer is wanted."""
        self._send(Frame.CALL, 0, payload)

    def _send(self, kind: Frame, number: int, payload: bytes = b"") -> None:
        self._socket.send(pack_frame(kind, number, payload), NOBLOCK)
        # A send may have eaten the descriptor's edge.
        if not self._armed and self._pending():
            self._armed = True
            self._loop.call_soon(self._drain)

    def _pending(self) -> bool:
        events = self._socket.getsockopt(zmq.EVENTS)
        return isinstance(events, int) and bool(events & POLLIN)

    def _drain(self) -> None:
        self._armed = False
        while not self._closed:
            try:
                message = self._socket.recv(NOBLOCK)
            except zmq.Again:
                return
            kind, number, payload = unpack_frame(message)
            if kind == Frame.CREDIT:
                self.grant(number)
            elif kind == Frame.PING:
                self._send(Frame.PONG, number)
            elif kind == Frame.RETURN:
                answer = self._calls.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(payload)
            else:
                self.on_frame(kind, number, payload)

    def close(self) -> None:
        """Send what can be sent and go; the rest is in the log."""
        with suppress(OSError):
            self.flush()
        self._closed = True
        self._loop.remove_reader(self._socket.FD)
        self._socket.close()
        self._context.term()
        if self._log is not None:
            self._log.close()
