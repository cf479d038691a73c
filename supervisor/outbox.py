"""What goes out to one client: fair between threads, control before data, bounded by the workers' credits.

Every thread has a lane; lanes take turns with a small quantum, so a flooding thread cannot hold up a quiet one.
Lines that belong to no thread go first. Each piece may carry a callback for the moment when the client's pipe has
taken it; that is what gives a worker its credit back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

__all__ = ["Done", "Outbox"]

log = logging.getLogger("bulkhead.outbox")

CHUNK_BYTES = 65536
"""One write: as much as a pipe takes at once by default."""
CHUNKS_AT_ONCE = 4
"""Writes to a client that reads as fast, before other work of the loop gets its turn."""
QUANTUM_BYTES = 4096
"""What a lane may send before the next lane's turn."""
FLUSH_TIMEOUT_S = 2.0
"""How long a client that does not read can hold up the server's end."""

MERGE_BYTES = 4096
"""Lines that wait are joined up to this: one by one, what is kept about a line is larger than the line."""

Done = Callable[[int], None]
"""Told how much of what it is owed the client has taken."""


class _Piece:
    """Lines on their way, and who wants to know when the client has taken them."""

    __slots__ = ("done", "lines", "owed")

    def __init__(self, lines: bytes, done: Done | None, owed: int) -> None:
        self.lines = lines
        self.done = done
        self.owed = owed


class Outbox:
    """`frame` is what lines become on the wire, if not themselves."""

    def __init__(
        self, fd: int, lost: Callable[[], None], frame: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._fd = fd
        self._frame = frame
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._control: deque[bytes] = deque()
        self._lanes: dict[str, deque[_Piece]] = {}
        self._ready: deque[str] = deque()
        self._first: deque[str] = deque()
        """Lanes with news of a death: in none of the turns, before all of them. A worker's credit bounds what is in one."""
        self._chunk = memoryview(b"")
        self._dones: list[_Piece] = []
        self._waiting = False
        self._scheduled = False
        self._broken = False
        self._moved_at = self._loop.time()
        self._low: list[tuple[int, Callable[[], None]]] = []
        self.queued = 0
        """Bytes waiting, the chunk under way included."""
        self._drained: asyncio.Event = asyncio.Event()
        self._socket: socket.socket | None = None
        self._blocking = False
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode):
            # A flag of the call, not of the socket: its other end may share the file description.
            self._socket = socket.socket(fileno=os.dup(fd))
        elif stat.S_ISREG(mode):
            self._blocking = True  # epoll knows no regular files, and they never block
        else:
            os.set_blocking(fd, False)

    def control(self, line: bytes) -> None:
        """A line that belongs to no thread."""
        self.raw(line if self._frame is None else self._frame(line))

    def raw(self, line: bytes) -> None:
        """Bytes that are framed already."""
        if self._broken:
            return
        self._control.append(line)
        self.queued += len(line)
        self._schedule()

    def push(
        self, lane: str, lines: bytes, done: Done | None = None, owed: int = 0, *, first: bool = False
    ) -> None:
        """Lines of a thread; `done` is called with `owed`, or with sums of it, when the client has taken them.

        `first`: the lane need not wait for its turn; what waits in it comes before, since order holds within a thread.
        """
        if self._broken:
            if done is not None:
                done(owed)
            return
        if self._frame is not None:
            lines = self._frame(lines)
        queue = self._lanes.get(lane)
        if queue is None:
            queue = self._lanes[lane] = deque()
            self._ready.append(lane)
        if first and lane not in self._first:
            self._ready.remove(lane)
            self._first.append(lane)
        self.queued += len(lines)
        if queue:
            last = queue[-1]
            if len(last.lines) + len(lines) <= MERGE_BYTES and last.done == done:
                last.lines += lines
                last.owed += owed
                return
        queue.append(_Piece(lines, done, owed))
        if first and not self._waiting:
            self._pump()
        else:
            self._schedule()

    def when_below(self, size: int, call: Callable[[], None]) -> None:
        """Call once, when less than `size` bytes are waiting."""
        self._low.append((size, call))

    def _tell_low(self) -> None:
        if self._low:
            due = [call for size, call in self._low if self.queued < size]
            self._low = [(size, call) for size, call in self._low if self.queued >= size]
            for call in due:
                call()

    def _schedule(self) -> None:
        if not self._scheduled and not self._waiting:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _next_chunk(self) -> bool:
        parts: list[bytes] = []
        size = 0
        while self._control and size < CHUNK_BYTES:
            line = self._control.popleft()
            parts.append(line)
            size += len(line)
        while self._first and size < CHUNK_BYTES:
            size += self._take_from(self._first.popleft(), CHUNK_BYTES - size, parts, self._first.appendleft)
        while self._ready and size < CHUNK_BYTES:
            size += self._take_from(self._ready.popleft(), QUANTUM_BYTES, parts, self._ready.append)
        self._chunk = memoryview(b"".join(parts))
        return size > 0

    def _take_from(self, lane: str, most: int, parts: list[bytes], again: Callable[[str], None]) -> int:
        """Move pieces of a lane to `parts` until `most` bytes are there; `again` gets the lane if more is in it."""
        queue = self._lanes[lane]
        taken = 0
        while queue and taken < most:
            piece = queue.popleft()
            parts.append(piece.lines)
            taken += len(piece.lines)
            if piece.done is not None:
                self._dones.append(piece)
        if queue:
            again(lane)
        else:
            del self._lanes[lane]
        return taken

    @staticmethod
    def _tell(pieces: Iterable[_Piece]) -> None:
        for piece in pieces:
            if piece.done is not None:
                piece.done(piece.owed)

    def _write(self) -> int:
        if self._socket is not None:
            return self._socket.send(self._chunk, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.write(self._fd, self._chunk)

    def _pump(self) -> None:
        self._scheduled = False
        chunks = 0
        while not self._broken:
            if not self._chunk:
                chunks += 1
                if chunks > CHUNKS_AT_ONCE:
                    self._stop_waiting()
                    self._schedule()
                    return
                taken, self._dones = self._dones, []
                self._tell(taken)
                if not self._next_chunk():
                    if self._dones:
                        continue  # nothing was left of what these stood for
                    break
            try:
                written = self._write()
            except BlockingIOError:
                self._wait()
                return
            except OSError as error:
                self._break(error)
                return
            self._moved_at = self._loop.time()
            self.queued -= written
            self._chunk = self._chunk[written:]
            self._tell_low()
        self._stop_waiting()
        self._drained.set()

    @property
    def stalled_s(self) -> float:
        """For how long something has been waiting that the client does not take; 0 if nothing is."""
        return self._loop.time() - self._moved_at if self._waiting else 0.0

    def _wait(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._moved_at = self._loop.time()
            self._loop.add_writer(self._fd, self._pump)

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting = False
            self._loop.remove_writer(self._fd)

    def _break(self, error: OSError) -> None:
        """The client is gone: nothing is owed to it, and the workers get their credit back."""
        log.info("the client does not read any more: %s", error.strerror)
        self.let_go()

    def let_go(self) -> None:
        """Nothing more is owed to the client, as if it had gone."""
        self.discard()
        self._lost()

    def discard(self) -> None:
        self._broken = True
        self._stop_waiting()
        owed = [*self._dones, *(piece for queue in self._lanes.values() for piece in queue)]
        self._control.clear()
        self._lanes.clear()
        self._ready.clear()
        self._first.clear()
        self._chunk = memoryview(b"")
        self.queued = 0
        self._dones = []
        self._tell(owed)
        self._drained.set()

    async def flush(self) -> None:
        """Wait until everything is written, the client is gone, or it has not read for too long."""
        while not self._broken and (self.queued or self._scheduled):
            self._drained.clear()
            left = self.queued
            with suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), FLUSH_TIMEOUT_S)
            if left and self.queued >= left:
                return

    def close(self) -> None:
        self._stop_waiting()
        if self._socket is not None:
            self._socket.close()
        elif not self._blocking:
            with suppress(OSError):
                os.set_blocking(self._fd, True)
