"""Fitting a patch to the files it names, and writing the result.

`verify` only reads and finds every mistake before the first byte is written; `apply` writes. Each file is
replaced in one step, so nobody sees half of one. Standard library only, see `patch_grammar`.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Literal, NamedTuple

from .patch_grammar import AddFile, DeleteFile, Patch, PatchError, UpdateFile, parse
from .patch_match import PatchVerifyError, updated_text

__all__ = ["Change", "PatchApplyError", "PatchVerifyError", "Verified", "apply", "parse", "verify"]

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Larger files are refused: old and new text are held in memory, and no model writes hunks for such a file."""

_NO_REPLACE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV})
"""A folder that takes no new name while the file itself may be writable: a file mounted on its own."""


class PatchApplyError(PatchError):
    """A file could not be written. `done` are the summary lines of what was written before, e.g. `M a.txt`."""

    def __init__(self, message: str, done: tuple[str, ...]) -> None:
        before = "".join(f"\n{line}" for line in done)
        super().__init__(f"{message}\nFiles updated before that:{before}" if done else message)
        self.done = done


class Change(NamedTuple):
    """What becomes of one file. Paths are absolute, `name` is as written in the patch.

    `old` is `None` where no file was, `new` is `None` for a deletion. `mode` is the `st_mode` of the old file, 0
    without one. `replaced` and `replaced_mode` are the same for the file a move overwrites. A symbolic link that is
    deleted has its target's name as `old`, as git sees it.
    """

    kind: Literal["add", "delete", "update"]
    name: str
    path: str
    move_path: str | None
    old: bytes | None
    new: bytes | None
    mode: int
    replaced: bytes | None = None
    replaced_mode: int = 0


_LETTERS = {"add": "A", "update": "M", "delete": "D"}
"""Of the summary, in the order in which it lists them."""


class Verified(NamedTuple):
    """A patch that fits; `changes` in the patch's order, no file twice."""

    cwd: str
    changes: tuple[Change, ...]


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
    return Change("add", section.path, path, None, old, section.text.encode(), mode)


def _deleted(section: DeleteFile, path: str) -> Change:
    if os.path.islink(path):
        old, mode = os.fsencode(os.readlink(path)), stat.S_IFLNK
    else:
        old, mode = _read(path, "Failed to read")
    return Change("delete", section.path, path, None, old, None, mode)


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
        return Change("update", section.path, path, None, old, new, mode)
    move_path = os.path.normpath(os.path.join(cwd, section.move_to))
    replaced, replaced_mode = (
        _read(move_path, "Failed to write file") if os.path.exists(move_path) else (None, 0)
    )
    return Change("update", section.move_to, path, move_path, old, new, mode, replaced, replaced_mode)


def apply(verified: Verified) -> str:
    """Write the files. Returns the summary for the model; raises `PatchApplyError`.

    A symbolic link is written through. Modes are kept, missing folders are made. Files are written in the patch's
    order, which matters where a folder takes the place of a file.
    """
    done: list[Change] = []
    for change in verified.changes:
        try:
            _write(change)
        except OSError as error:
            verb = "delete" if change.new is None else "write"
            target = change.move_path or change.path
            raise PatchApplyError(
                f"Failed to {verb} file {target}: {_reason(error)}", _summary(done)
            ) from error
        done.append(change)
    return "Success. Updated the following files:\n" + "".join(f"{line}\n" for line in _summary(done))


def _summary(changes: list[Change]) -> tuple[str, ...]:
    return tuple(
        f"{letter} {change.name}"
        for kind, letter in _LETTERS.items()
        for change in changes
        if change.kind == kind
    )


def _write(change: Change) -> None:
    if change.new is None:
        os.unlink(change.path)
        return
    target = os.path.realpath(change.move_path or change.path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if not _same(target, change.path) or change.new != change.old:
        _replace(target, change.new, stat.S_IMODE(change.mode) if change.old is not None else None)
    if change.move_path is not None and not _same(target, change.path):
        os.unlink(change.path)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _replace(target: str, data: bytes, mode: int | None) -> None:
    # not derived from the file's name, which may be as long as a name can be
    temporary = os.path.join(os.path.dirname(target), f".patch-{os.urandom(8).hex()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in _NO_REPLACE or not os.path.isfile(target):
            raise
        _overwrite(target, data)
        return
    try:
        with open(fd, "wb") as file:
            file.write(data)
            if mode is not None:
                os.fchmod(fd, mode)
        try:
            os.replace(temporary, target)
        except OSError as error:
            if error.errno not in _NO_REPLACE or not os.path.isfile(target):
                raise
            _overwrite(target, data)
            os.unlink(temporary)
    except BaseException:
        _discard(temporary)
        raise


def _overwrite(target: str, data: bytes) -> None:
    with open(target, "r+b") as file:
        file.write(data)
        file.truncate()


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
