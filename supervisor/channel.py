"""How a connection's lines travel: as they are, or as websocket messages. The rest of the server sees lines only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from supervisor.lines import LineReader

__all__ = ["Channel", "Inlet", "LineChannel", "Listener"]


class Listener(Protocol):
    """Gets what comes in."""

    def on_line(self, line: bytes) -> None: ...

    def on_long(self, head: bytes, tail: bytes) -> None:
        """A line that was longer than the limit: both its ends, for the id in it."""

    def on_end(self) -> None:
        """Nothing more will come; called once."""


class Inlet(Protocol):
    """The reading side."""

    def start(self) -> None: ...

    def pause(self) -> None:
        """Leave the input where it is: the client's own pipe holds it up."""

    def resume(self) -> None: ...

    def stop(self) -> None: ...


class Channel(Protocol):
    """Both sides of one client's descriptors; `close` gives them back."""

    write_fd: int

    @property
    def frame(self) -> Callable[[bytes], bytes] | None:
        """What lines become on the wire; None: nothing else."""

    def inlet(self, listener: Listener, send: Callable[[bytes], None]) -> Inlet:
        """Make the reading side. `send` takes bytes that are framed already (a websocket's control frames)."""

    def close(self) -> None: ...


class LineChannel:
    """JSON lines over two descriptors; `last` is what to do with them at the end."""

    frame: Callable[[bytes], bytes] | None = None

    def __init__(
        self, read_fd: int, write_fd: int, *, first: bytes = b"", last: Callable[[], None] | None = None
    ) -> None:
        self.write_fd = write_fd
        self._read_fd = read_fd
        self._first = first
        self._last = last

    def inlet(self, listener: Listener, send: Callable[[bytes], None]) -> Inlet:
        return LineReader(
            self._read_fd,
            on_line=listener.on_line,
            on_long=listener.on_long,
            on_end=listener.on_end,
            first=self._first,
        )

    def close(self) -> None:
        if self._last is not None:
            self._last()
