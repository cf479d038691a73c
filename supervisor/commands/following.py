"""Printing the end of a file, and what is added to it, across rotations.

A journal that is full is renamed and begun anew. A thread's log is copied and emptied, since workers have it open. In both
cases the file before ends with `.1`, and nothing that was added between two looks is to be missed.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO, Self

__all__ = ["follow", "last_lines"]

LOOK_S = 0.2
KNOWN_BYTES = 4096
"""Of what was read last: by this the place is found again in a copy."""

Fits = Callable[[str], bool]


def last_lines(path: str, count: int, fits: Fits = lambda _: True) -> list[str]:
    """Those that fit, of the file and the one before it together; without newlines."""
    with _Follower(path) as follower:
        return _ends([*follower.all(), *follower.rest()], count, fits)


def follow(path: str, count: int, alive: Callable[[], bool], fits: Fits = lambda _: True) -> Iterator[str]:
    """The last lines that fit and those that are added from then on, until nobody writes any more."""
    with _Follower(path) as follower:
        yield from _ends(follower.all(), count, fits)
        while True:
            living = alive()
            yield from filter(fits, follower.added())
            if not living:
                yield from filter(fits, follower.rest())
                return
            time.sleep(LOOK_S)


class _Follower:
    """Holds the file open, so that what was added before a rename is read after it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._torn = b""
        """The beginning of a line whose end is not written yet."""
        self._known = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def all(self) -> list[str]:
        # The file itself first: if it becomes the file before meanwhile, it is read once all the same.
        self._open()
        return [*self._lines(self._before()), *self._read()]

    def added(self) -> Iterator[str]:
        if self._file is None:
            self._open()
            yield from self._read()
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
            yield from self._lines(self._missed())
        replaced = _inode(self._path) not in (0, os.fstat(self._file.fileno()).st_ino)
        yield from self._read()
        if replaced:
            self._file.close()
            self._open()
            yield from self._read()

    def rest(self) -> list[str]:
        """A last line without a newline."""
        torn, self._torn = self._torn, b""
        return [torn.decode("utf-8", "replace")] if torn else []

    def _open(self) -> None:
        self._file = None
        with suppress(FileNotFoundError):
            self._file = open(self._path, "rb")  # noqa: SIM115  (closed when we leave)

    def _before(self) -> bytes:
        with suppress(FileNotFoundError), open(self._path + ".1", "rb") as file:
            if self._file is None or not os.path.sameopenfile(file.fileno(), self._file.fileno()):
                return file.read()
        return b""

    def _missed(self) -> bytes:
        """What the copy of an emptied file has that was not read of it, as far as it can be told."""
        copy = self._before()
        place = copy.rfind(self._known)
        return b"" if place < 0 else copy[place + len(self._known) :]

    def _read(self) -> list[str]:
        return self._lines(self._file.read()) if self._file is not None else []

    def _lines(self, data: bytes) -> list[str]:
        self._known = (self._known + data)[-KNOWN_BYTES:]
        *lines, self._torn = (self._torn + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]


def _ends(lines: list[str], count: int, fits: Fits) -> list[str]:
    return list(deque(filter(fits, lines), maxlen=count))


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
