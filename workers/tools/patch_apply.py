"""Fitting a patch to the files it names, and writing the result.

`verify` only reads and finds every mistake before the first byte is written; `apply` writes, all files or none.
Few imports, see `patch_grammar`.
"""

from __future__ import annotations

import os
import stat

from .patch_grammar import AddFile, DeleteFile, Patch, PatchError, Record, UpdateFile, parse
from .patch_match import PatchVerifyError, updated_text
from .patch_undo import Step, fingerprint
from .patch_write import Content, Writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

__all__ = [
    "Change",
    "PatchApplyError",
    "PatchVerifyError",
    "Verified",
    "apply",
    "parse",
    "steps",
    "verify",
]

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Larger files are refused: old and new text are held in memory, and no model writes hunks for such a file."""


class PatchApplyError(PatchError):
    """A file could not be written, and the others are as they were, but for `lost`: files that were not put back."""

    def __init__(self, message: str, lost: tuple[str, ...]) -> None:
        after = "".join(f"\n{path}" for path in lost)
        super().__init__(
            f"{message}\nThese files could not be put back:{after}"
            if lost
            else f"{message}\nNo file was changed."
        )
        self.lost = lost


class Change(Record):
    """What becomes of one file. Paths are absolute, `name` is as written in the patch.

    `old` is `None` where no file was, `new` is `None` for a deletion. `mode` is the `st_mode` of the old file, 0
    without one. `replaced` and `replaced_mode` are the same for the file a move overwrites. A symbolic link that is
    deleted has its target's name as `old`, as git sees it.
    """

    __slots__ = ("kind", "mode", "move_path", "name", "new", "old", "path", "replaced", "replaced_mode")

    def __init__(
        self,
        kind: Literal["add", "delete", "update"],
        name: str,
        path: str,
        move_path: str | None,
        *,
        old: bytes | None,
        new: bytes | None,
        mode: int,
        replaced: bytes | None = None,
        replaced_mode: int = 0,
    ) -> None:
        self.kind = kind
        self.name = name
        self.path = path
        self.move_path = move_path
        self.old = old
        self.new = new
        self.mode = mode
        self.replaced = replaced
        self.replaced_mode = replaced_mode


_LETTERS = {"add": "A", "update": "M", "delete": "D"}
"""Of the summary, in the order in which it lists them."""


class Verified(Record):
    """A patch that fits; `changes` in the patch's order, no file twice."""

    __slots__ = ("changes", "cwd")

    def __init__(self, cwd: str, changes: tuple[Change, ...]) -> None:
        self.cwd = cwd
        self.changes = changes


def verify(patch: Patch, cwd: str) -> Verified:
    """Fit a patch to the files as they are now. `cwd` must be absolute. Raises `PatchVerifyError`."""
    if not patch.sections:
        raise PatchVerifyError("patch rejected: empty patch")
    changes: list[Change] = []
    targets: set[str] = set()
    for section in patch.sections:
        path = os.path.normpath(os.path.join(cwd, section.path))
        match section:
            case AddFile():
                change = _added(section, path)
            case DeleteFile():
                change = _deleted(section, path)
            case UpdateFile():
                change = _updated(section, path, cwd)
        changes.append(change)
        own = {_identity(name, change.kind): name for name in (change.move_path or path, path)}
        for target, name in own.items():
            if target in targets:
                raise PatchVerifyError(f"invalid patch: multiple operations target {name}")
        targets.update(own)
    return Verified(cwd, tuple(changes))


def _identity(path: str, kind: str) -> str:
    """What tells whether two names are one file, which must not be patched against each other."""
    if kind == "delete":
        # a link is deleted itself, not what it points to
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return os.path.realpath(path)


def _reason(error: OSError) -> str:
    return f"{error.strerror} (os error {error.errno})"


def _read(path: str, failed: str) -> tuple[bytes, int]:
    try:
        # a FIFO would block on open, a device may never end
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise PatchVerifyError(f"{failed} {path}: path `{path}` is not a file")
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PatchVerifyError(f"{failed} {path}: {_reason(error)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise PatchVerifyError(f"{failed} {path}: the file has more than {MAX_FILE_BYTES} bytes")
    return data, mode


def _added(section: AddFile, path: str) -> Change:
    old: bytes | None = None
    mode = 0
    if os.path.exists(path):
        old, mode = _read(path, "Failed to write file")
    return Change("add", section.path, path, None, old=old, new=section.text.encode(), mode=mode)


def _deleted(section: DeleteFile, path: str) -> Change:
    if os.path.islink(path):
        old, mode = os.fsencode(os.readlink(path)), stat.S_IFLNK
    else:
        old, mode = _read(path, "Failed to read")
    return Change("delete", section.path, path, None, old=old, new=None, mode=mode)


def _updated(section: UpdateFile, path: str, cwd: str) -> Change:
    old, mode = _read(path, "Failed to read file to update")
    try:
        text = old.decode()
    except UnicodeDecodeError as error:
        length = error.end - error.start
        what = (
            f"incomplete utf-8 byte sequence from index {error.start}"
            if error.reason == "unexpected end of data"
            else f"invalid utf-8 sequence of {length} bytes from index {error.start}"
        )
        raise PatchVerifyError(f"Failed to read file to update {path}: {what}") from None
    new = updated_text(text, section.hunks, path).encode()
    if section.move_to is None:
        return Change("update", section.path, path, None, old=old, new=new, mode=mode)
    move_path = os.path.normpath(os.path.join(cwd, section.move_to))
    replaced, replaced_mode = (
        _read(move_path, "Failed to write file") if os.path.exists(move_path) else (None, 0)
    )
    return Change(
        "update",
        section.move_to,
        path,
        move_path,
        old=old,
        new=new,
        mode=mode,
        replaced=replaced,
        replaced_mode=replaced_mode,
    )


def steps(verified: Verified) -> tuple[Step, ...]:
    """What is to be done to which file, in order; nothing where the patch changes nothing."""
    return tuple(step for step, _ in _planned(verified))


def apply(verified: Verified, token: str = "", expected: tuple[Step, ...] | None = None) -> str:
    """Write the files. Returns the summary for the model; raises `PatchApplyError`.

    All files or none: when one cannot be written, those before it are put back; after a kill, `undo_dead` does that. A
    symbolic link is written through. Modes are kept, missing folders are made. Files are written in the patch's order,
    which matters where a folder takes the place of a file. `token` (random without) names the patch, `expected` are the
    steps that were found before, by somebody who noted them.
    """
    planned = _planned(verified)
    if expected is not None and expected != tuple(step for step, _ in planned):
        raise PatchApplyError("The files were changed while the patch was prepared", ())
    writing = Writing(
        token or os.urandom(8).hex(),
        [step for step, _ in planned],
        [content for _, content in planned],
    )
    try:
        writing.run()
    except BaseException as error:
        lost = writing.undo()
        if not isinstance(error, OSError):
            raise
        step, content = planned[writing.failed]
        verb = "delete" if content.data is None else "write"
        raise PatchApplyError(f"Failed to {verb} file {step.path}: {_reason(error)}", lost) from error
    return "Success. Updated the following files:\n" + "".join(
        f"{line}\n" for line in _summary(verified.changes)
    )


def _summary(changes: tuple[Change, ...]) -> tuple[str, ...]:
    return tuple(
        f"{letter} {change.name}"
        for kind, letter in _LETTERS.items()
        for change in changes
        if change.kind == kind
    )


def _planned(verified: Verified) -> list[tuple[Step, Content]]:
    found: list[tuple[Step, Content]] = []
    for change in verified.changes:
        target = os.path.realpath(change.move_path or change.path)
        moved = change.move_path is not None and target != os.path.realpath(change.path)
        if change.new is not None and (moved or change.new != change.old):
            mode = stat.S_IMODE(change.mode) if change.old is not None else None
            old = change.replaced if moved else change.old
            found.append((_step(target, change.new, old), Content(change.new, mode, old)))
        if change.new is None or moved:
            folder, name = os.path.split(change.path)
            gone = os.path.join(os.path.realpath(folder), name)
            found.append((_step(gone, None, change.old), Content(None, None, change.old)))
    return found


def _step(path: str, new: bytes | None, old: bytes | None) -> Step:
    base = os.path.dirname(path)
    while not os.path.isdir(base):
        base = os.path.dirname(base)
    return Step(path, base, "" if new is None else fingerprint(new), old is not None)
