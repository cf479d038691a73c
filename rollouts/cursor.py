"""Cursors of `thread/list`: `<time>|<thread id>` (after that thread) or `<time>` (after that time).

The time is RFC 3339, or `YYYY-MM-DDThh-mm-ss` as in file names; both UTC unless they say otherwise.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

import msgspec

from rollouts.errors import InvalidListParams, InvalidThreadId
from rollouts.ids import canonical_id

__all__ = ["Cursor", "backwards_cursor", "next_cursor", "parse_cursor"]

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d)[:-](\d\d)[:-](\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?\Z",
    re.ASCII,
)


class Cursor(msgspec.Struct, frozen=True):
    """A place in the list: unix milliseconds and, where times are equal, a thread id."""

    ms: int
    thread_id: str | None = None


def parse_cursor(text: str) -> Cursor:
    """Raises InvalidListParams: `invalid cursor: <text>`."""
    time, bar, thread_id = text.partition("|")
    match = _TIME.match(time)
    try:
        if match is None:
            raise ValueError(time)
        zone = (match[6] or "Z").replace("Z", "+00:00")
        at = datetime.fromisoformat(f"{match[1]}T{match[2]}:{match[3]}:{match[4]}{zone}")
        ms = round(at.timestamp()) * 1000 + int(float(match[5] or 0) * 1000)
        return Cursor(ms, canonical_id(thread_id) if bar else None)
    except (ValueError, OverflowError, InvalidThreadId):
        raise InvalidListParams(f"invalid cursor: {text}") from None


def next_cursor(ms: int, thread_id: str) -> str:
    """Where the page after the one that ends with this thread begins."""
    fraction = f".{ms % 1000:03d}".rstrip("0").rstrip(".")
    return f"{_seconds(ms)}{fraction}Z|{thread_id}"


def backwards_cursor(ms: int, direction: Literal["asc", "desc"]) -> str:
    """For the other direction, from the page that begins with this time; that page's first thread is seen again."""
    ms += 1 if direction == "asc" else -1
    return f"{_seconds(ms)}.{ms % 1000:03d}Z"


def _seconds(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
