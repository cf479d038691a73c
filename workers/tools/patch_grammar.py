"""The text form of a patch: what the model writes when it calls `apply_patch`.

    *** Begin Patch
    *** Add File: PATH            every line below starts with "+"
    *** Delete File: PATH
    *** Update File: PATH
    *** Move to: PATH             optional, directly below
    @@ LINE                       starts a hunk; LINE, where given, stands somewhere above it
     kept, -removed, +added       an empty line is a kept empty line
    *** End of File               optional: the hunk is the end of the file
    *** End Patch

Wording and line numbers of the errors are those of Codex 0.169. Standard library only: the process that writes
a patch to disk has nothing else on its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

__all__ = [
    "AddFile",
    "DeleteFile",
    "Hunk",
    "Patch",
    "PatchError",
    "PatchSyntaxError",
    "Section",
    "UpdateFile",
    "parse",
]

BEGIN = "*** Begin Patch"
END = "*** End Patch"
END_OF_FILE = "*** End of File"
_HEADER = re.compile(r"\*\*\* (Add|Delete|Update) File: (\S.*)", re.DOTALL)
_MOVE = re.compile(r"\*\*\* Move to: (\S.*)", re.DOTALL)
# `<<EOF`, `<<'EOF'`, `apply_patch <<"EOF"`: models that know the tool from a shell wrap the patch
_HEREDOC = re.compile(r"(?:apply_?patch\s+)?<<-?\s*(['\"]?)(\w+)\1")


class PatchError(Exception):
    """A patch cannot be used. The text is meant for the model.

    PatchError
    ├── PatchSyntaxError     the text is no patch
    ├── PatchVerifyError     the patch does not fit the files (patch_apply)
    └── PatchApplyError      a file could not be written (patch_apply)
    """


class PatchSyntaxError(PatchError):
    """The text is no patch. `line` counts from 1 within the patch, `None`: the text as a whole."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(
            f"invalid patch: {message}" if line is None else f"invalid hunk at line {line}, {message}"
        )
        self.line = line


class Hunk(NamedTuple):
    """`lines` are (operation, text without line end); at least one, and never a bare context line."""

    context: str | None
    lines: tuple[tuple[Literal[" ", "-", "+"], str], ...]
    at_end: bool


class AddFile(NamedTuple):
    path: str
    text: str


class DeleteFile(NamedTuple):
    path: str


class UpdateFile(NamedTuple):
    path: str
    move_to: str | None
    hunks: tuple[Hunk, ...]


Section = AddFile | DeleteFile | UpdateFile


class Patch(NamedTuple):
    """Paths as written; at least one section unless the patch is empty (`Begin`, `End`, nothing between)."""

    sections: tuple[Section, ...]


def parse(text: str) -> Patch:
    """Read a patch; blank space around it and a heredoc around it are ignored. Raises `PatchSyntaxError`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PatchSyntaxError("the text is not valid Unicode") from None
    lines = _unwrapped([line.removesuffix("\r") for line in text.strip().split("\n")])
    if lines[0].strip() != BEGIN:
        raise PatchSyntaxError(f"The first line of the patch must be '{BEGIN}'")
    if len(lines) < 2 or lines[-1].strip() != END:
        raise PatchSyntaxError(f"The last line of the patch must be '{END}'")
    return Patch(tuple(_Reader(lines).sections()))


def _unwrapped(lines: list[str]) -> list[str]:
    heredoc = _HEREDOC.fullmatch(lines[0].strip())
    if heredoc is None or len(lines) < 3 or lines[-1].strip() != heredoc[2]:
        return lines
    return "\n".join(lines[1:-1]).strip().split("\n")


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._end = len(lines) - 1  # the End line itself
        self._at = 1

    def _fail(self, message: str, at: int | None = None) -> PatchSyntaxError:
        return PatchSyntaxError(message, (self._at if at is None else at) + 1)

    def sections(self) -> Iterator[Section]:
        while self._at < self._end:
            line = self._lines[self._at].strip()
            if line == END:
                raise PatchSyntaxError(f"The last line of the patch must be '{END}'")
            header = _HEADER.fullmatch(line)
            if header is None:
                raise self._fail(
                    f"'{line}' is not a valid hunk header. Valid hunk headers: '*** Add File: {{path}}', "
                    "'*** Delete File: {path}', '*** Update File: {path}'"
                )
            path = self._path(header[2])
            start = self._at
            self._at += 1
            if header[1] == "Add":
                yield AddFile(path, self._added_text())
            elif header[1] == "Delete":
                yield DeleteFile(path)
            else:
                yield self._update(path, start)

    def _path(self, path: str) -> str:
        if "\0" in path:
            raise self._fail("a path must not contain a NUL character")
        return path

    def _added_text(self) -> str:
        start = self._at
        while self._at < self._end and self._lines[self._at].startswith("+"):
            self._at += 1
        return "".join(line[1:] + "\n" for line in self._lines[start : self._at])

    def _update(self, path: str, start: int) -> UpdateFile:
        move_to: str | None = None
        if self._at < self._end and (move := _MOVE.fullmatch(self._lines[self._at].rstrip())):
            move_to = self._path(move[1])
            self._at += 1
        hunks: list[Hunk] = []
        while self._at < self._end and not self._ends_update():
            if self._lines[self._at].strip():
                hunks.append(self._hunk(first=not hunks))
            else:
                self._at += 1
        if not hunks:
            raise self._fail(f"Update file hunk for path '{path}' is empty", start)
        return UpdateFile(path, move_to, tuple(hunks))

    def _ends_update(self) -> bool:
        line = self._lines[self._at].rstrip()
        return _HEADER.fullmatch(line) is not None or line == END

    def _hunk(self, *, first: bool) -> Hunk:
        head = self._lines[self._at]
        context: str | None = None
        if head.rstrip() == "@@":
            self._at += 1
        elif head.startswith("@@ "):
            context = head[3:].rstrip()
            self._at += 1
        elif not first:
            raise self._fail(f"Expected update hunk to start with a @@ context marker, got: '{head}'")
        lines: list[tuple[Literal[" ", "-", "+"], str]] = []
        while self._at < self._end:
            line = self._lines[self._at]
            match line[:1]:
                case "":
                    lines.append((" ", ""))
                case " " | "-" | "+" as operation:
                    lines.append((operation, line[1:]))
                case _ if lines:
                    break
                case _ if line.rstrip() in {END_OF_FILE, END}:
                    break
                case _:
                    raise self._fail(
                        f"Unexpected line found in update hunk: '{line}'. Every line should start with "
                        "' ' (context line), '+' (added line), or '-' (removed line)"
                    )
            self._at += 1
        if not lines:
            raise self._fail("Update hunk does not contain any lines")
        at_end = self._at < self._end and self._lines[self._at].rstrip() == END_OF_FILE
        self._at += at_end
        return Hunk(context, tuple(lines), at_end)
