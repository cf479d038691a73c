"""A command's pipes and terminal on the event loop: everything is read, nothing is waited for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from sandbox_backends.errors import StdinError

__all__ = ["Feed", "Reader"]

CHUNK = 1 << 16
"""A pipe's capacity: one read takes what is there."""
READS_PER_WAKE = 16
"""A flood gives way to the loop's other work after this many chunks."""
STDIN_LIMIT = 16 << 20
"""Bytes a command may leave unread before more is refused."""
DRAINED_BELOW = 1 << 18
BURST, RATE = 32 << 20, 128 << 20
"""Bytes read as they come, and bytes a second beyond: more is a flood that would take two processors from others."""
FLOOD_PAUSE_S = 0.01


class Reader:
    """Reads a descriptor to its end, unless paused. Owns the descriptor."""

    def __init__(self, fd: int, sink: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._paused = False
        self._budget = float(BURST)
        self._refilled = self._loop.time()
        self._waiting: asyncio.TimerHandle | None = None
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._ready)

    def pause(self) -> None:
        """Leave the rest where it is: whoever writes it has to wait. The sink may call this."""
        if not self._paused and self._fd >= 0:
            self._paused = True
            self._loop.remove_reader(self._fd)
            self._stop_waiting()

    def resume(self) -> None:
        if self._paused and self._fd >= 0:
            self._paused = False
            self._loop.add_reader(self._fd, self._ready)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _slow_down(self) -> None:
        """Let the command wait until there is something to spend again."""
        now = self._loop.time()
        self._budget = min(BURST, self._budget + RATE * (now - self._refilled))
        self._refilled = now
        if self._budget < CHUNK * READS_PER_WAKE:
            self._loop.remove_reader(self._fd)
            self._waiting = self._loop.call_later(FLOOD_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._fd, self._ready)

    def _ready(self) -> None:
        for _ in range(READS_PER_WAKE):
            if self._paused:
                return
            try:
                chunk = os.read(self._fd, CHUNK)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""  # EIO: the last process closed its side of the terminal
            if not chunk:
                self.close()
                return
            self._budget -= len(chunk)
            self._sink(chunk)
        # A whole round of full pipes and more to come: only who floods gets here.
        if self._fd >= 0 and not self._paused:
            self._slow_down()

    def close(self) -> None:
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        self._stop_waiting()
        if not self._loop.is_closed():
            self._loop.remove_reader(fd)
        os.close(fd)
        if not self.ended.done():
            self.ended.set_result(None)


class Feed:
    """Writes to a command's stdin, or to its terminal, as fast as it reads. Owns the descriptor."""

    END_OF_FILE = b"\x04"
    """^D, which a terminal in its usual mode turns into an end of file."""

    def __init__(self, fd: int, *, terminal: bool) -> None:
        self._fd = fd
        self._terminal = terminal
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._watching = False
        self._closing = False
        self._eased: list[asyncio.Future[None]] = []
        os.set_blocking(fd, False)

    @property
    def fd(self) -> int:
        """The descriptor, -1 once closed."""
        return self._fd

    def write(self, data: bytes) -> None:
        """Queue bytes. Raises StdinError once closed, or when too much is queued."""
        if self._closing or self._fd < 0:
            raise StdinError("stdin is closed")
        if len(self._waiting) + len(data) > STDIN_LIMIT:
            raise StdinError(f"the command left {len(self._waiting)} bytes of input unread")
        self._waiting += data
        self._push()

    def end(self) -> None:
        """No more input after what is queued. A terminal stays open: its end of file is just a character."""
        if self._closing or self._fd < 0:
            return
        if self._terminal:
            self._waiting += self.END_OF_FILE
        else:
            self._closing = True
        self._push()

    async def eased(self) -> None:
        """Return when little is queued, or nothing will be taken any more."""
        while len(self._waiting) > DRAINED_BELOW and self._fd >= 0:
            future: asyncio.Future[None] = self._loop.create_future()
            self._eased.append(future)
            await future

    def _push(self) -> None:
        while self._waiting:
            try:
                sent = os.write(self._fd, self._waiting[:CHUNK])
            except BlockingIOError:
                if not self._watching:
                    self._watching = True
                    self._loop.add_writer(self._fd, self._push)
                break
            except OSError:
                self.close()  # nobody reads it any more; that is the command's choice
                return
            del self._waiting[:sent]
        if len(self._waiting) <= DRAINED_BELOW:
            self._release()
        if not self._waiting:
            self._unwatch()
            if self._closing:
                self.close()

    def _release(self) -> None:
        waiters, self._eased = self._eased, []
        for future in waiters:
            if not future.done():
                future.set_result(None)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            if not self._loop.is_closed():
                self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """Drop what is queued and let go of the descriptor."""
        if self._fd < 0:
            return
        self._unwatch()
        fd, self._fd = self._fd, -1
        self._waiting.clear()
        self._release()
        os.close(fd)
