"""Finding the lines of a hunk in a file, and building the new text.

Models copy lines imperfectly, so a search is repeated with less and less regard for blanks and typography; the
first reading that finds the lines wins, and lines a hunk keeps always stay as the file has them.

Few imports, see `patch_grammar`.
"""

from __future__ import annotations

from itertools import accumulate

from .patch_grammar import Hunk, PatchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PatchVerifyError", "updated_text"]

_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u201a\u201b", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
    | dict.fromkeys(
        "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
        " ",
    )
)
_BOM = "\ufeff"


class PatchVerifyError(PatchError):
    """A patch does not fit the files it names, or one of them cannot be read."""


def _exact(line: str) -> str:
    return line


def _plain(line: str) -> str:
    return line.translate(_TYPOGRAPHY).strip()


_READINGS: tuple[Callable[[str], str], ...] = (_exact, str.rstrip, str.strip, _plain)


class _Reading:
    """The lines of a file under one reading, joined so that a search is one `str.find`: linear on any input."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._joined = "\n" + "\n".join(lines) + "\n"
        self._offsets = [0, *accumulate(len(line) + 1 for line in lines)]

    def find(self, wanted: list[str], start: int, *, at_end: bool) -> int | None:
        last = len(self._lines) - len(wanted)
        if start > last:
            return None
        if at_end:
            return last if self._lines[last:] == wanted else None
        at = self._joined.find("\n" + "\n".join(wanted) + "\n", self._offsets[start])
        return None if at < 0 else self._joined.count("\n", 0, at)


class _Haystack:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._readings: list[_Reading] = []

    def find(self, wanted: list[str], start: int, *, at_end: bool = False) -> int | None:
        """Index of the first place at or behind `start`; `wanted` has at least one line."""
        found = self.places(wanted, start, at_end=at_end)
        return found[0] if found else None

    def places(self, wanted: list[str], start: int, *, at_end: bool = False) -> list[int]:
        """The first place and, if there is one by the same reading, the next."""
        for number, reading in enumerate(_READINGS):
            if number == len(self._readings):
                self._readings.append(_Reading([reading(line) for line in self._lines]))
            read = [reading(line) for line in wanted]
            found = self._readings[number].find(read, start, at_end=at_end)
            if found is not None:
                other = None if at_end else self._readings[number].find(read, found + 1, at_end=False)
                return [found] if other is None else [found, other]
        return []


def updated_text(old: str, hunks: tuple[Hunk, ...], path: str) -> str:
    """`old` with the hunks done, in their order; `path` is for the error text.

    New lines get the line end of the file's first line. A hunk that only adds lines puts them behind its context
    line, or at the end of the file if it names none. The result ends with a line end, as the peer's does.
    Raises `PatchVerifyError`.
    """
    bom, body = (_BOM, old[1:]) if old.startswith(_BOM) else ("", old)
    kept = [line + "\n" for line in body.split("\n")]
    if (last := kept.pop()) != "\n":
        kept.append(last.removesuffix("\n"))
    lines = [line.removesuffix("\n").removesuffix("\r") for line in kept]
    line_end = "\r\n" if kept and kept[0].endswith("\r\n") else "\n"
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += line_end
    haystack = _Haystack(lines)
    edits: list[tuple[int, int, list[str]]] = []
    position = 0
    for hunk in hunks:
        if hunk.context is not None:
            contexts = haystack.places([hunk.context], position)
            if not contexts:
                raise PatchVerifyError(f"Failed to find context '{hunk.context}' in {path}")
            position = contexts[0] + 1
        if all(operation == "+" for operation, _ in hunk.lines):
            if hunk.context is not None and not hunk.at_end and len(contexts) > 1:
                raise _ambiguous(path, contexts, [hunk.context])
            at = len(lines) if hunk.context is None or hunk.at_end else position
            edits.append((at, at, [text + line_end for _, text in hunk.lines]))
            continue
        places, operations = _place(haystack, hunk, position, path)
        start = places[0]
        new = _done(operations, kept, start, line_end)
        position = start + sum(operation != "+" for operation, _ in operations)
        if len(places) > 1:
            # Of two places that come to the same text either will do.
            other = places[1]
            after = other + position - start
            elsewhere = _done(operations, kept, other, line_end)
            if kept[start:other] + elsewhere != new + kept[position:after]:
                raise _ambiguous(path, places, [text for operation, text in operations if operation != "+"])
        edits.append((start, position, new))
    edits.sort(key=lambda edit: edit[:2])
    pieces: list[str] = [bom]
    done = 0
    for start, stop, new in edits:
        pieces += kept[done:start]
        pieces += new
        done = stop
    return "".join(pieces + kept[done:])


def _ambiguous(path: str, places: list[int], lines: list[str]) -> PatchVerifyError:
    where = " and ".join(str(place + 1) for place in places)
    return PatchVerifyError(
        f"Ambiguous lines in {path}, found at lines {where}; add context to the hunk:\n" + "\n".join(lines)
    )


def _done(operations: list[tuple[str, str]], kept: list[str], at: int, line_end: str) -> list[str]:
    """The lines that take the hunk's place when it is done at index `at`."""
    new: list[str] = []
    for operation, text in operations:
        if operation == "+":
            new.append(text + line_end)
            continue
        if operation == " ":
            new.append(kept[at])
        at += 1
    return new


def _place(haystack: _Haystack, hunk: Hunk, start: int, path: str) -> tuple[list[int], list[tuple[str, str]]]:
    """Where the hunk fits (one place, or two if it is ambiguous), and its operations."""
    operations: list[tuple[str, str]] = list(hunk.lines)
    wanted = [text for operation, text in operations if operation != "+"]
    places = haystack.places(wanted, start, at_end=hunk.at_end)
    if not places and not wanted[-1]:
        # models see an empty last line behind the final line end; nothing else wanted is found right here
        del wanted[-1]
        places = haystack.places(wanted, start, at_end=hunk.at_end) if wanted else [start]
        last = max(index for index, (operation, _) in enumerate(operations) if operation != "+")
        if operations[last][0] == " " and last < len(operations) - 1:
            operations[last] = ("+", "")
        else:
            del operations[last]
    if not places:
        raise PatchVerifyError(
            f"Failed to find expected lines in {path}:\n"
            + "\n".join(text for operation, text in hunk.lines if operation != "+")
        )
    if hunk.context is not None and len(places) > 1:
        # The context line decides, unless it too comes again, with the same lines behind it.
        again = haystack.find([hunk.context], places[0])
        other = None if again is None else haystack.find(wanted, again + 1)
        places = places[:1] if other is None else [places[0], other]
    return places, operations
