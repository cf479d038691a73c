"""Lines from a client: split out of whatever comes in, bounded, whatever is in them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from protocol.rpc import ID_WINDOW

__all__ = ["MAX_LINE_BYTES", "LineReader"]

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Images come as data URLs inside a line; what is longer than this is refused, not collected."""
READ_BYTES = 256 * 1024


class LineReader:
    """Reads a descriptor and hands over one line at a time.

    `on_line` gets the bytes without the newline; `on_long` gets both ends of a line that was too long; `on_end` is
    called once at the end of the input. `first` is what has been read already.
    """

    def __init__(
        self,
        fd: int,
        *,
        on_line: Callable[[bytes], None],
        on_long: Callable[[bytes, bytes], None],
        on_end: Callable[[], None],
        limit: int = MAX_LINE_BYTES,
        first: bytes = b"",
    ) -> None:
        self._fd = fd
        self._on_line, self._on_long, self._on_end = on_line, on_long, on_end
        self._limit = limit
        self._first = first
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0
        self._long_head: bytes | None = None
        self._tail = b""
        self._paused = False
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._first:
            self._loop.call_soon(self._begin)
        else:
            self._watch()

    def _begin(self) -> None:
        """What has been read already comes first: a loop may look at descriptors before it makes calls that are due."""
        if not self._ended:
            self.feed(self._first)
        if not self._ended and not self._paused:
            self._watch()

    def _watch(self) -> None:
        try:
            self._loop.add_reader(self._fd, self._readable)
        except (PermissionError, OSError):
            # A regular file: epoll refuses it, and reading it does not block for long.
            self._thread = threading.Thread(target=self._read_file, name="stdin", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Leave the input where it is: the client's own pipe holds it up."""
        if not self._paused and not self._ended and self._thread is None:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if self._paused and not self._ended:
            self._paused = False
            self._loop.add_reader(self._fd, self._readable)

    def stop(self) -> None:
        if not self._ended:
            self._ended = True
            if self._thread is None:
                with suppress(OSError, ValueError):
                    self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.feed(data)
        else:
            self._finish()

    def _read_file(self) -> None:
        while data := os.read(self._fd, READ_BYTES):
            self._loop.call_soon_threadsafe(self.feed, data)
        self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self._ended:
            return
        self.stop()
        if self._size or self._long_head is not None:
            self._line(b"")
        self._on_end()

    def feed(self, data: bytes) -> None:
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._line(data[start:end])
            start = end + 1
        if start < len(data):
            self._keep(data[start:])

    def _keep(self, part: bytes) -> None:
        if self._long_head is not None:
            self._tail = (self._tail + part)[-ID_WINDOW:]
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._limit:
            whole = b"".join(self._parts)
            self._long_head, self._tail = whole[:ID_WINDOW], whole[-ID_WINDOW:]
            self._parts.clear()
            self._size = 0

    def _line(self, last: bytes) -> None:
        if self._long_head is None and self._size + len(last) > self._limit:
            self._keep(last)
            last = b""
        if self._long_head is not None:
            head, tail = self._long_head, (self._tail + last)[-ID_WINDOW:]
            self._long_head, self._tail = None, b""
            self._on_long(head, tail)
            return
        if self._parts:
            self._parts.append(last)
            last = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
        self._on_line(last)
