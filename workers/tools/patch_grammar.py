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

An `*** Environment ID: NAME` below the first line is ignored, as there is one. Wording and line numbers of the errors
are those of Codex 0.169. What the modules of the patch program import is paid at each of its starts: no `re`,
`typing` or `collections` here, which cost more than all the rest.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

__all__ = [
    "AddFile",
    "DeleteFile",
    "Hunk",
    "Patch",
    "PatchError",
    "PatchSyntaxError",
    "Record",
    "Section",
    "UpdateFile",
    "parse",
]

BEGIN = "*** Begin Patch"
END = "*** End Patch"
END_OF_FILE = "*** End of File"
ENVIRONMENT = "*** Environment ID: "
HEADERS = {"Add": "*** Add File: ", "Delete": "*** Delete File: ", "Update": "*** Update File: "}
MOVE = "*** Move to: "
TOOL_NAMES = ("apply_patch", "applypatch")


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


class Record:
    """Equal where type and fields are; what a named tuple would be, without its imports."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__slots__))


class Hunk(Record):
    """`lines` are (operation, text without line end); at least one, and never a bare context line."""

    __slots__ = ("at_end", "context", "lines")

    def __init__(
        self, context: str | None, lines: tuple[tuple[Literal[" ", "-", "+"], str], ...], at_end: bool
    ) -> None:
        self.context = context
        self.lines = lines
        self.at_end = at_end


class AddFile(Record):
    __slots__ = ("path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text


class DeleteFile(Record):
    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


class UpdateFile(Record):
    __slots__ = ("hunks", "move_to", "path")

    def __init__(self, path: str, move_to: str | None, hunks: tuple[Hunk, ...]) -> None:
        self.path = path
        self.move_to = move_to
        self.hunks = hunks


Section = AddFile | DeleteFile | UpdateFile


class Patch(Record):
    """Paths as written; at least one section unless the patch is empty (`Begin`, `End`, nothing between)."""

    __slots__ = ("sections",)

    def __init__(self, sections: tuple[Section, ...]) -> None:
        self.sections = sections


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
    word = _heredoc(lines[0].strip())
    if word is None or len(lines) < 3 or lines[-1].strip() != word:
        return lines
    return "\n".join(lines[1:-1]).strip().split("\n")


def _heredoc(line: str) -> str | None:
    """The word that ends `<<EOF`, `<<'EOF'` or `apply_patch <<"EOF"`: who knows the tool from a shell wraps the patch."""
    name, _, rest = line.partition("<<")
    if not _ or (name.strip() not in TOOL_NAMES if name else False):
        return None
    word = rest.removeprefix("-").lstrip()
    if word[:1] in ("'", '"') and len(word) > 1 and word[-1] == word[0]:
        word = word[1:-1]
    return word if word.replace("_", "a").isalnum() else None


def _header(line: str) -> tuple[str, str] | None:
    """(`Add`, `Delete` or `Update`, path) of a section's first line."""
    for kind, words in HEADERS.items():
        if line.startswith(words) and (path := line[len(words) :].strip()):
            return kind, path
    return None


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._end = len(lines) - 1  # the End line itself
        self._at = 1

    def _fail(self, message: str, at: int | None = None) -> PatchSyntaxError:
        return PatchSyntaxError(message, (self._at if at is None else at) + 1)

    def sections(self) -> Iterator[Section]:
        if self._at < self._end and self._lines[self._at].strip().startswith(ENVIRONMENT):
            self._at += 1
        while self._at < self._end:
            line = self._lines[self._at].strip()
            if line == END:
                raise PatchSyntaxError(f"The last line of the patch must be '{END}'")
            header = _header(line)
            if header is None:
                raise self._fail(
                    f"'{line}' is not a valid hunk header. Valid hunk headers: '*** Add File: {{path}}', "
                    "'*** Delete File: {path}', '*** Update File: {path}'"
                )
            kind, path = header[0], self._path(header[1])
            start = self._at
            self._at += 1
            if kind == "Add":
                yield AddFile(path, self._added_text())
            elif kind == "Delete":
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
        head = self._lines[self._at]  # the End line, if nothing else comes
        if head.startswith(MOVE) and head[len(MOVE) :].strip():
            move_to = self._path(head[len(MOVE) :].strip())
            self._at += 1
        hunks: list[Hunk] = []
        first = self._at
        while self._at < self._end and not self._ends_update():
            if self._lines[self._at].strip():
                hunks.append(self._hunk(first=not hunks))
            else:
                self._at += 1
        if not hunks and self._at > first:
            hunks.append(Hunk(None, ((" ", ""),), at_end=False))  # nothing but blank lines is a kept one
        if not hunks:
            raise self._fail(f"Update file hunk for path '{path}' is empty", start)
        return UpdateFile(path, move_to, tuple(hunks))

    def _ends_update(self) -> bool:
        line = self._lines[self._at].rstrip()
        return _header(line) is not None or line == END

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
