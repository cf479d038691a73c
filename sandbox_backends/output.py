"""Keeping what a command prints: bounded memory, every byte counted, characters never torn."""

from __future__ import annotations

import codecs
from typing import Literal

import msgspec

__all__ = ["Captured", "HeadTail", "TextStream"]

CONTINUATION_MAX = 3
"""Bytes of one UTF-8 character that may follow its first."""


class Captured(msgspec.Struct, frozen=True):
    """Output as kept: `head` and `tail` are the ends, `omitted` the number of bytes between them that are gone."""

    head: bytes = b""
    tail: bytes = b""
    omitted: int = 0

    @property
    def total(self) -> int:
        return len(self.head) + len(self.tail) + self.omitted

    def raw(self) -> bytes:
        """What was kept, byte for byte, without a marker."""
        return self.head + self.tail

    def text(self, *, marked: bool = True) -> str:
        """As text, with a marker line where bytes are missing; a character cut by the gap is dropped."""
        if not self.omitted:
            return (self.head + self.tail).decode("utf-8", "replace")
        head = codecs.getincrementaldecoder("utf-8")("replace").decode(self.head)
        lost = next((n for n, byte in enumerate(self.tail[: CONTINUATION_MAX + 1]) if byte & 0xC0 != 0x80), 0)
        tail = self.tail[lost:].decode("utf-8", "replace")
        if not marked:
            return head + tail
        return f"{head}\n... {self.omitted} bytes omitted ...\n{tail}"


class HeadTail:
    """The first and last half of at most `cap` bytes (None: all); with `keep="head"` the first bytes only."""

    def __init__(self, cap: int | None, keep: Literal["ends", "head"] = "ends") -> None:
        if cap is not None and cap < 0:
            raise ValueError("an output cap is not negative")
        self._head_cap = cap if cap is None or keep == "head" else cap - cap // 2
        self._tail_cap = 0 if cap is None or keep == "head" else cap // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    @property
    def full(self) -> bool:
        """Whether bytes were, or would be, dropped."""
        return self._head_cap is not None and self.total > self._head_cap + self._tail_cap

    def push(self, chunk: bytes) -> None:
        self.total += len(chunk)
        if self._head_cap is None:
            self._head += chunk
            return
        room = self._head_cap - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk or not self._tail_cap:
            return
        self._tail += chunk[-self._tail_cap :]
        # Cut at twice the size: each byte moves once on average, however small the chunks.
        if len(self._tail) > 2 * self._tail_cap:
            del self._tail[: len(self._tail) - self._tail_cap]

    def last(self, size: int) -> bytes:
        """The last `size` bytes kept."""
        return (
            bytes((self._head + self._tail)[-size:]) if len(self._tail) < size else bytes(self._tail[-size:])
        )

    def captured(self) -> Captured:
        tail = bytes(self._tail[-self._tail_cap :]) if self._tail_cap else b""
        return Captured(bytes(self._head), tail, self.total - len(self._head) - len(tail))


class TextStream:
    """Bytes in, text out: a character split over two chunks comes out whole, bad bytes as U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, chunk: bytes) -> str:
        return self._decoder.decode(chunk)

    def finish(self) -> str:
        """What an unfinished character at the end comes to."""
        return self._decoder.decode(b"", final=True)
