"""What the demo shows: lines that stay, and below them, on a terminal, one line a thread that is kept up to date."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
PAUSE_S = 0.08  # between two pictures; faster than that is only flicker
_STYLES = re.compile("\x1b\\[[0-9;]*m")
_UNPRINTABLE = re.compile(r"[^ -~\u00a0-\uffff]+")


class Screen:
    def __init__(self) -> None:
        terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._live = terminal
        self._colours = terminal and not os.environ.get("NO_COLOR")
        self._began = time.monotonic()
        self._rows: list[str] = []
        self._drawn = 0
        self._last = 0.0

    @property
    def live(self) -> bool:
        return self._live

    def paint(self, text: str, *styles: str) -> str:
        return f"\x1b[{';'.join(styles)}m{text}\x1b[0m" if self._colours and styles else text

    def say(self, text: str = "") -> None:
        """A line that stays."""
        self._erase()
        print(text)
        self._draw()

    def tell(self, who: str, what: str, *styles: str) -> None:
        """A line that stays, with the time since the start."""
        clock = self.paint(f"{time.monotonic() - self._began:5.1f} s", DIM)
        self.say(f"{clock}  {self.paint(f'{who:<7}', BOLD)} {self.paint(what, *styles)}")

    def show(self, rows: Sequence[str]) -> None:
        """The lines that change; without a terminal they are not shown."""
        now = time.monotonic()
        if not self._live or now - self._last < PAUSE_S:
            return
        self._last = now
        self._erase()
        self._rows = list(rows)
        self._draw()

    def clear(self) -> None:
        """No more lines that change."""
        self._erase()
        self._rows = []

    @property
    def width(self) -> int:
        return shutil.get_terminal_size().columns - 1

    def _erase(self) -> None:
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if self._rows:
            sys.stdout.write("".join(f"{_cut(row, self.width)}\n" for row in self._rows))
            self._drawn = len(self._rows)
        sys.stdout.flush()

    def __enter__(self) -> Self:
        if self._live:
            sys.stdout.write("\x1b[?25l")  # no cursor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        if self._live:
            sys.stdout.write("\x1b[?25h")
        sys.stdout.flush()


def plain(text: str) -> str:
    """Text of a model or a command, without what could move the cursor."""
    return _UNPRINTABLE.sub(" ", text).strip()


def table(screen: Screen, rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with aligned columns, the first one as the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [screen.paint(lines[0].rstrip(), BOLD), *(line.rstrip() for line in lines[1:])]


def _cut(row: str, width: int) -> str:
    """A longer line would wrap, and one line up would then be the wrong one."""
    if len(_STYLES.sub("", row)) <= width:
        return row
    kept, room = "", width
    for part in re.split("(\x1b\\[[0-9;]*m)", row):
        if part.startswith("\x1b"):
            kept += part
        else:
            kept += part[:room]
            room -= len(part[:room])
    return kept
