"""Finding words in what was said in a thread, without reading all of it."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rollouts.chain import parts_of
from rollouts.items import item_of
from rollouts.lines import ItemCompleted, decode_as, decode_line

__all__ = ["Needle"]

BEFORE, AFTER = 50, 96
"""Characters of a snippet around its hit; as the peer's."""
CUT = "..."


class _Said(msgspec.Struct):
    type: str = ""
    message: str = ""


class Needle:
    """A term to look for; upper and lower case are the same."""

    def __init__(self, term: str) -> None:
        # As it stands inside a JSON string of the file.
        stored = msgspec.json.encode(term)[1:-1]
        self._stored = re.compile(re.escape(stored), re.IGNORECASE)
        self._term = re.compile(re.escape(term), re.IGNORECASE)

    def snippet(self, path: Path) -> str | None:
        """The words around the first hit in a user's or the model's message of this thread, None without one.

        Raises:
            RolloutDamaged, OSError
        """
        for part, end in parts_of(path):
            for line in self._hits(part, end):
                for text in _said(line):
                    if hit := self._term.search(text):
                        return _around(text, *hit.span())
        return None

    def _hits(self, path: Path, end: int | None) -> Iterator[bytes]:
        """The lines before byte `end` with the term anywhere in them."""
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                stop = size if end is None else min(end, size)
                place = 0
                while hit := self._stored.search(data, place, stop):
                    start = data.rfind(b"\n", 0, hit.start()) + 1
                    place = data.find(b"\n", hit.end(), stop) + 1 or stop
                    yield data[start:place]


def _said(raw: bytes) -> list[str]:
    line = decode_line(raw)
    if line is None or line.type != "event_msg":
        return []
    said = decode_as(_Said, line.payload)
    if said is None:
        return []
    if said.type in {"user_message", "agent_message"}:
        return [said.message]
    event = decode_as(ItemCompleted, line.payload)
    stored = decode_as(dict[str, object], event.item) if event is not None else None
    item = item_of(stored, None, None) if stored is not None else None
    text = getattr(item, "text", None)  # of an agent's message or a plan
    if isinstance(text, str):
        return [text]
    return [
        part.text for part in getattr(item, "content", []) if isinstance(getattr(part, "text", None), str)
    ]


def _around(text: str, start: int, end: int) -> str:
    first, last = max(0, start - BEFORE), min(len(text), end + AFTER)
    return f"{CUT if first else ''}{text[first:last]}{CUT if last < len(text) else ''}"
