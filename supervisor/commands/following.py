"""Printing the end of a file, and what is added to it, across rotations."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

__all__ = ["follow", "last_lines"]

LOOK_S = 0.2


def last_lines(path: str, count: int) -> list[str]:
    """Of the file and the one before it (`.1`), together; without newlines."""
    kept: deque[str] = deque(maxlen=count or None)
    for one in (path + ".1", path):
        with suppress(FileNotFoundError), open(one, encoding="utf-8", errors="replace") as file:
            kept.extend(line.rstrip("\n") for line in file)
    return list(kept) if count else []


def follow(path: str, alive: Callable[[], bool]) -> Iterator[str]:
    """Lines that are added from now on, until nobody writes any more."""
    position = os.stat(path).st_size if os.path.exists(path) else 0
    rest = ""
    inode = _inode(path)
    while True:
        living = alive()
        if _inode(path) != inode:
            inode, position = _inode(path), 0
        with suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
            if os.fstat(file.fileno()).st_size < position:
                position = 0  # emptied: it was over its cap
            file.seek(position)
            text = file.read()
            position = file.tell()
            *lines, rest = (rest + text).split("\n")
            yield from lines
        if not living:
            return
        time.sleep(LOOK_S)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
