"""What is printed for people: names, folders and last words are of clients' and commands' choosing."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["cut", "legible", "table"]


def legible(text: str) -> str:
    """One line, and nothing in it that a terminal would obey."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line a row; columns as wide as their widest cell on a terminal."""
    cells = [[legible(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def cut(line: str, columns: int) -> str:
    """As much of a line as fits."""
    while _width(line) > columns:
        line = line[: min(len(line) - 1, columns)]
    return line


def _width(text: str) -> int:
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
