"""Reading a rollout from its end, and mending an end that was torn off by a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rollouts.lines import decode_line

__all__ = ["begun", "lines_backwards", "mend"]

_CHUNK = 1 << 16


def lines_backwards(fd: int, end: int | None = None, chunk: int = _CHUNK) -> Iterator[bytes]:
    """The lines before byte `end` (default: all), last first, without newlines; empty ones are left out."""
    position = os.fstat(fd).st_size if end is None else end
    pieces: list[bytes] = []  # of a line that began before what was read so far, last piece first
    while position > 0:
        size = min(chunk, position)
        position -= size
        block = os.pread(fd, size, position)
        parts = block.split(b"\n")
        if len(parts) == 1:
            pieces.append(block)
            continue
        pieces.append(parts[-1])
        if line := b"".join(reversed(pieces)):
            yield line
        for part in reversed(parts[1:-1]):
            if part:
                yield part
        pieces = [parts[0]]
    if line := b"".join(reversed(pieces)):
        yield line


def begun(path: Path) -> bool:
    """Whether a file got as far as a first whole line: one whose writer died before that holds nothing."""
    with open(path, "rb") as file:
        first = file.readline()
    return first.endswith(b"\n") or decode_line(first) is not None


def mend(fd: int) -> int:
    """Makes the file end with a whole line; returns its size then.

    A last line without newline gets one if it is whole, else it is cut off: its writer died before it was done, so
    nobody has been told about it.
    """
    size = os.fstat(fd).st_size
    if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
        return size
    last = next(lines_backwards(fd, size), b"")
    if decode_line(last) is not None:
        os.pwrite(fd, b"\n", size)
        return size + 1
    os.ftruncate(fd, size - len(last))
    return size - len(last)
