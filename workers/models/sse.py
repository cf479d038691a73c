"""Server-sent events, cut out of raw bytes as they arrive.

Follows the parsing rules of the HTML standard (lines end with LF, CR or CRLF; several `data` lines are joined by LF;
comments and a byte order mark are skipped) but for two things: only the data is kept, since the APIs here name their
events inside of it, and data that the end of the stream cuts short of its empty line is handed out by `finish`.
"""

from __future__ import annotations

__all__ = ["MAX_EVENT_BYTES", "EventTooLargeError", "SseSplitter"]

MAX_EVENT_BYTES = 64 << 20
"""Far above any event a model sends (an image of 4k pixels takes about 20 MiB), far below what ends a worker."""

_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event is larger than `MAX_EVENT_BYTES`."""


class SseSplitter:
    """Takes chunks of any size, gives the data of each event that is complete."""

    __slots__ = ("_data", "_fresh", "_pieces", "_size", "_skip_lf")

    def __init__(self) -> None:
        self._fresh = True
        self._skip_lf = False
        # The unfinished line is kept in pieces: joining them at each chunk would take quadratic time.
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Give the events that `chunk` completes. Raises `EventTooLargeError`."""
        if self._fresh:
            chunk = b"".join((*self._pieces, chunk))
            self._pieces.clear()
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._pieces.append(chunk)
                return []
            self._fresh = False
            chunk = chunk.removeprefix(_BOM)
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._skip_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._size += len(chunk)
        if b"\n" not in chunk:
            if chunk:
                self._pieces.append(chunk)
            self._check_size()
            return []
        if self._pieces:
            chunk = b"".join((*self._pieces, chunk))
            self._pieces.clear()
        return self._lines(chunk)

    def finish(self) -> list[bytes]:
        """Give the event that the end of the stream left open, if there is one."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return self._lines(rest + b"\n\n")

    def _lines(self, block: bytes) -> list[bytes]:
        lines = block.split(b"\n")
        rest = lines.pop()
        if rest:
            self._pieces.append(rest)
        events: list[bytes] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line == b"data":
                data.append(b"")
        self._size = len(rest) + sum(map(len, data))
        self._check_size()
        # Data that is empty altogether is no event.
        return [event for event in events if event]

    def _check_size(self) -> None:
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event of more than {MAX_EVENT_BYTES} bytes")
