"""Where in a TOML text each value stands, so that an error can point at it.

`tomli` tells positions only of text that is no TOML. This scanner reads text that `tomli` has accepted: it
needs no checks of its own and never builds values, it only walks over them.
"""

from __future__ import annotations

import re
from bisect import bisect_right

import msgspec
import tomli

__all__ = ["Path", "Position", "Section", "positions_of", "sections_of", "split_key"]

Path = tuple[str | int, ...]
"""Keys from the top, with the index where the container is an array."""


class Position(msgspec.Struct, frozen=True):
    """Both count from 1; columns are characters."""

    line: int
    column: int


class Section(msgspec.Struct, frozen=True):
    """A header and the pairs below it. `path` has indices below arrays of tables.

    `header` and `last` are lines, from 1: that of the header (0 before all headers) and the last one that belongs to a
    pair, or the header's if there is none.
    """

    path: Path
    header: int
    last: int


_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
# Numbers, booleans and dates. A date may hold one space between day and time.
_SCALAR = re.compile(r"[^,\]}#\n]+")


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self.found: dict[Path, Position] = {}
        self.tables: dict[Path, int] = {}
        self.sections = [Section((), 0, 0)]

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()

    def peek(self, literal: str) -> bool:
        return self.text.startswith(literal, self.at)

    def note(self, path: Path, offset: int) -> None:
        line = self.line(offset)
        self.found.setdefault(path, Position(line, offset - self.starts[line - 1] + 1))

    def key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self.skip(_SPACE)
            match = (_STRING if self.text[self.at] in "\"'" else _BARE_KEY).match(self.text, self.at)
            assert match is not None, "the text was accepted as TOML"
            part = match.group()
            parts.append(_unquote(part) if part[0] in "\"'" else part)
            self.at = match.end()
            self.skip(_SPACE)
            if not self.peek("."):
                return parts
            self.at += 1

    def resolve(self, parts: list[str]) -> Path:
        """The path a header means: below an array of tables it is the array's last element."""
        path: Path = ()
        for part in parts:
            path = (*path, part)
            if path in self.tables:
                path = (*path, self.tables[path])
        return path

    def line(self, offset: int) -> int:
        return bisect_right(self.starts, offset)

    def open_section(self, path: Path) -> None:
        here = self.line(self.at)
        self.sections.append(Section(path, here, here))

    def document(self) -> None:
        prefix: Path = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.peek("[["):
                self.at += 2
                start = self.at
                parts = self.key()
                array = (*self.resolve(parts[:-1]), parts[-1])
                self.tables[array] = self.tables.get(array, -1) + 1
                prefix = (*array, self.tables[array])
                self.note(array, start)
                self.note(prefix, start)
                self.open_section(prefix)
                self.at += 2
            elif self.peek("["):
                self.at += 1
                start = self.at
                prefix = self.resolve(self.key())
                for depth in range(1, len(prefix) + 1):
                    self.note(prefix[:depth], start)
                self.open_section(prefix)
                self.at += 1
            else:
                self.pair(prefix)
                self.sections[-1] = msgspec.structs.replace(self.sections[-1], last=self.line(self.at - 1))
            self.skip(_BLANK)

    def pair(self, prefix: Path) -> None:
        start = self.at
        parts = self.key()
        self.at += 1  # the equals sign
        self.skip(_SPACE)
        for depth in range(1, len(parts)):
            self.note((*prefix, *parts[:depth]), start)
        self.value((*prefix, *parts))

    def value(self, path: Path) -> None:
        self.note(path, self.at)
        if self.peek("["):
            self.at += 1
            self.skip(_BLANK)
            index = 0
            while not self.peek("]"):
                self.value((*path, index))
                index += 1
                self.separator()
            self.at += 1
        elif self.peek("{"):
            self.at += 1
            self.skip(_BLANK)
            while not self.peek("}"):
                self.pair(path)
                self.separator()
            self.at += 1
        elif self.text[self.at] in "\"'":
            self.skip(_STRING)
        else:
            self.skip(_SCALAR)

    def separator(self) -> None:
        self.skip(_BLANK)
        if self.peek(","):
            self.at += 1
            self.skip(_BLANK)


def _unquote(quoted: str) -> str:
    value = tomli.loads(f"k = {quoted}")["k"]
    assert isinstance(value, str)
    return value


def sections_of(text: str) -> list[Section]:
    """The sections of `text` (valid TOML) in their order; the first is the part before all headers."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.sections


def positions_of(text: str) -> dict[Path, Position]:
    """The position of every value of `text` (valid TOML); a table's is that of its first mention."""
    # tomli reads line ends so, too; lines and columns stay the same
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.found


def split_key(dotted: str) -> list[str]:
    """The parts of a dotted key as it is written on the command line: `projects."/a.b".trust_level`.

    Parts outside quotes may hold anything but dots, as the peer has it; nothing is checked but that no part
    is empty.

    :raises ValueError: a part is empty, or a quote is not closed or followed by something else than a dot.
    """
    parts: list[str] = []
    at = 0
    while True:
        if dotted[at : at + 1] in ('"', "'"):
            match = _STRING.match(dotted, at)
            if match is None:
                raise ValueError("a quote is not closed")
            try:
                part = _unquote(match.group())
            except tomli.TOMLDecodeError as error:
                raise ValueError(str(error)) from error
            at = match.end()
            if dotted[at : at + 1] not in ("", "."):
                raise ValueError("something follows a quoted part")
        else:
            end = dotted.find(".", at)
            end = len(dotted) if end < 0 else end
            part = dotted[at:end].strip()
            at = end
        if not part:
            raise ValueError("a part is empty")
        parts.append(part)
        if at >= len(dotted):
            return parts
        at += 1
