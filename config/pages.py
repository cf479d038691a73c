"""Pages of lists whose cursor is the index of the page's first entry, as the peer's are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from config.errors import InvalidCursorError

__all__ = ["page"]

T = TypeVar("T")

LARGEST_CURSOR = 2**64 - 1
_CURSOR = re.compile(r"\+?[0-9]+", re.ASCII)


def page(
    entries: Sequence[T], cursor: str | None, limit: int | None, subject: str
) -> tuple[list[T], str | None]:
    """The entries of the page and the cursor of the next one; a `limit` of 0 means 1.

    :raises InvalidCursorError: it is no number, or lies behind the end; `subject` is what the entries are called.
    """
    start = 0 if cursor is None else _index(cursor)
    if start > len(entries):
        raise InvalidCursorError(f"cursor {start} exceeds total {subject} {len(entries)}")
    end = len(entries) if limit is None else min(start + max(limit, 1), len(entries))
    return list(entries[start:end]), str(end) if end < len(entries) else None


def _index(cursor: str) -> int:
    # The length first: Python refuses to parse numbers of thousands of digits.
    digits = cursor.lstrip("+").lstrip("0") or "0"
    fits = len(digits) <= len(str(LARGEST_CURSOR))
    if not _CURSOR.fullmatch(cursor) or not fits or int(digits) > LARGEST_CURSOR:
        raise InvalidCursorError(f"invalid cursor: {cursor}")
    return int(digits)
