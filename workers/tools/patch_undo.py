"""Putting a patch back, or clearing up after one that was applied: what is to be done is told by the names it left.

Works after any end of the program that applied it, and any number of times. See `patch_write` for the names.
Few imports, see `patch_grammar`.
"""

from __future__ import annotations

import fcntl
import os
import stat
from binascii import crc32

from .patch_grammar import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

__all__ = ["Bench", "Step", "clear", "fingerprint", "undo", "undo_dead"]

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
KINDS = ("new", "old", "whole", "copy")


class Step(Record):
    """One file. `path` and `base` have no links in them; `base` is the deepest folder above `path` that there was.

    `new`: the `fingerprint` of what is written; empty: the file is deleted. `old`: whether there was one.
    """

    __slots__ = ("base", "new", "old", "path")

    def __init__(self, path: str, base: str, new: str, old: bool) -> None:
        self.path = path
        self.base = base
        self.new = new
        self.old = old

    def folders(self) -> tuple[str, ...]:
        """Those that are missing, the outermost first."""
        missing: list[str] = []
        here = os.path.dirname(self.path)
        while len(here) > len(self.base):
            missing.append(here)
            here = os.path.dirname(here)
        return tuple(reversed(missing))


def fingerprint(data: bytes) -> str:
    """Tells our text from what somebody else has made of it. Who forges it has his own edit discarded, no more."""
    return f"{len(data):x}-{crc32(data):08x}"


class _Folder:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class Bench:
    """The names of one patch, and the ways to its files."""

    def __init__(self, token: str) -> None:
        self.mark = f".patch-{token}"

    def name(self, number: int, kind: str) -> str:
        # not derived from the file's name, which may be as long as a name can be
        return f"{self.mark}-{number}-{kind}"

    @staticmethod
    def folder(path: str) -> _Folder:
        """Open it, refusing links on the way. Raises OSError."""
        fd = os.open("/", _FOLDER)
        for name in path.split("/"):
            if not name:
                continue
            try:
                below = os.open(name, _FOLDER, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return _Folder(fd)

    @staticmethod
    def read(folder: int, name: str) -> bytes:
        """The content of a file, or the target of a link. Raises OSError."""
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return os.fsencode(os.readlink(name, dir_fd=folder))
        # O_NONBLOCK: a FIFO that was put there must not hang us.
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb") as file:
            return file.read()

    @staticmethod
    def rewrite(folder: int, name: str, data: bytes) -> None:
        fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "r+b") as file:
            file.write(data)
            file.truncate()


def undo_dead(token: str, steps: Sequence[Step]) -> tuple[bool, tuple[str, ...]]:
    """(applied, lost): put back what a program that is dead has left half done, or clear up after it.

    `applied`: whether it had done all; `lost`: paths that could not be put back. Raises BlockingIOError while it lives.
    """
    bench = Bench(token)
    for place in dict.fromkeys(step.base for step in steps):
        try:
            with bench.folder(place) as folder:
                fd = os.open(
                    bench.mark, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd
                )
        except OSError:
            continue
        with _Folder(fd):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False, undo(bench, steps, marked=place)
    clear(bench, steps, None)
    return all(_done(bench, step) for step in steps), ()


def _done(bench: Bench, step: Step) -> bool:
    try:
        with bench.folder(os.path.dirname(step.path)) as folder:
            name = os.path.basename(step.path)
            there = _status(folder.fd, name)
            if not step.new:
                # A folder may have taken the file's place.
                return there is None or stat.S_ISDIR(there.st_mode)
            return there is not None and _ours(bench, folder.fd, name, there, step)
    except OSError:
        return not step.new


def undo(bench: Bench, steps: Sequence[Step], *, marked: str | None) -> tuple[str, ...]:
    """Put all back, the last step first, if there is a mark (`marked`: its folder); remove every name, the mark at last."""
    lost: list[str] = []
    if marked is not None:
        for number, step in reversed(tuple(enumerate(steps))):
            try:
                if not _back(bench, number, step, marked):
                    lost.append(step.path)
            except OSError:
                lost.append(step.path)
            for path in reversed(step.folders()):
                _remove(bench, os.path.dirname(path), (os.path.basename(path),), os.rmdir)
    clear(bench, steps, None if marked is None else (marked,))
    return tuple(lost)


def clear(bench: Bench, steps: Sequence[Step], marked: Sequence[str] | None) -> None:
    """Remove every name of the patch, and the mark at last. `marked`: where the mark may be; None: nobody knows."""
    names: dict[str, list[str]] = {}
    apart = dict.fromkeys(step.base for step in steps) if marked is None else marked
    for number, step in enumerate(steps):
        for kind in KINDS:
            for place in dict.fromkeys((step.base, os.path.dirname(step.path))):
                names.setdefault(place, []).append(bench.name(number, kind))
        for place in apart:
            names.setdefault(place, []).extend(bench.name(number, kind) for kind in ("copy", "whole"))
    for place, there in names.items():
        _remove(bench, place, there, os.unlink)
    for place in apart:
        _remove(bench, place, (bench.mark,), os.unlink)


def _remove(bench: Bench, place: str, names: Sequence[str], remove: object) -> None:
    try:
        folder = bench.folder(place)
    except OSError:
        return
    with folder:
        for name in names:
            try:
                remove(name, dir_fd=folder.fd)  # type: ignore[operator]
            except OSError:
                continue


def _back(bench: Bench, number: int, step: Step, marked: str) -> bool:
    """Whether the file is as it was. What somebody else has made of it meanwhile stays."""
    name = os.path.basename(step.path)
    try:
        folder = bench.folder(os.path.dirname(step.path))
    except (FileNotFoundError, NotADirectoryError):
        return not step.old
    with folder:
        for place in (os.path.dirname(step.path), marked):
            try:
                with bench.folder(place) as other:
                    whole = bench.read(other.fd, bench.name(number, "whole"))
            except OSError:
                continue
            bench.rewrite(folder.fd, name, whole)
            return True
        kept = bench.name(number, "old")
        there, was = _status(folder.fd, name), _status(folder.fd, kept)
        if was is None:
            if there is not None and not step.old and _ours(bench, folder.fd, name, there, step):
                os.unlink(name, dir_fd=folder.fd)
            return True
        if there is None or _ours(bench, folder.fd, name, there, step):
            os.rename(kept, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
            return True
        # Not replaced yet, or the work of somebody else.
        return os.path.samestat(there, was) or bench.read(folder.fd, name) == bench.read(folder.fd, kept)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _ours(bench: Bench, folder: int, name: str, status: os.stat_result, step: Step) -> bool:
    if not step.new or not stat.S_ISREG(status.st_mode):
        return False
    return fingerprint(bench.read(folder, name)) == step.new
