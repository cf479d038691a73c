"""Putting protected paths right after a command, for a backend that cannot keep the command from them.

Remembered before: what each protected path is, and the bytes of what the host would later run or trust. Restored
after, when nothing of the command is left. This code is not confined and what it finds is hostile: it follows no
symlink below a protected path's own folder, and removes before it writes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator

from sandbox_backends.errors import LaunchError
from sandbox_backends.protection import SERVER, Protected, inside
from sandbox_backends.view import View

__all__ = ["Guard"]

GIT_PARTS = ("HEAD", "commondir", "config", "config.worktree", "gitdir", "hooks", "info")
"""What of a git directory makes the host run programs; objects may be gigabytes and run nothing. Submodules and worktrees
have the same in folders of their own."""
BUDGET = 4 << 20
"""Bytes of all that one command's guard remembers."""
MODE_BITS = 0o7777

Entry = tuple[str, int, bytes]
"""(kind, permission bits, content or link target)"""
Tree = dict[str, Entry]
"""By path below the top, the top itself as ""; a folder before what is in it."""


def _entries(path: str, name: str = "") -> Iterator[tuple[str, os.stat_result]]:
    yield name, os.lstat(path)
    if os.path.isdir(path) and not os.path.islink(path):
        for entry in sorted(os.listdir(path)):
            yield from _entries(os.path.join(path, entry), os.path.join(name, entry))


def _read(path: str, budget: int) -> Tree | None:
    """The tree at `path`; None if nothing is there. Raises LaunchError if it holds more than `budget` bytes."""
    if not os.path.lexists(path):
        return None
    tree: Tree = {}
    for name, status in _entries(path):
        here = os.path.join(path, name) if name else path
        mode = stat.S_IMODE(status.st_mode) & MODE_BITS
        if stat.S_ISLNK(status.st_mode):
            tree[name] = ("link", 0, os.fsencode(os.readlink(here)))
        elif stat.S_ISDIR(status.st_mode):
            tree[name] = ("dir", mode, b"")
        elif stat.S_ISREG(status.st_mode):
            budget -= status.st_size
            if budget < 0:
                raise LaunchError(f"cannot guard {path}: it holds more than {BUDGET >> 20} MiB")
            fd = os.open(here, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                tree[name] = ("file", mode, file.read(status.st_size))
        else:
            tree[name] = ("other", mode, b"")
    return tree


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        with contextlib.suppress(OSError):
            os.chmod(path, stat.S_IRWXU)
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def _write(path: str, tree: Tree) -> None:
    _remove(path)
    modes: list[tuple[str, int]] = []
    for name, (kind, mode, content) in tree.items():
        here = os.path.join(path, name) if name else path
        if kind == "dir":
            os.mkdir(here, stat.S_IRWXU)
            modes.append((here, mode))
        elif kind == "link":
            os.symlink(content, os.fsencode(here))
        elif kind == "file":
            fd = os.open(here, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            with open(fd, "wb") as file:
                file.write(content)
                os.fchmod(fd, mode)
    for here, mode in reversed(modes):
        os.chmod(here, mode)


def _git_parts(gitdir: str) -> tuple[str, ...]:
    """Paths below a git directory: its own parts, and those of the worktrees and submodules that it keeps."""
    inner = ["", *(os.path.join("worktrees", name) for name in _folders(os.path.join(gitdir, "worktrees")))]
    unread = ["modules"]
    while unread:
        above = unread.pop()
        for name in _folders(os.path.join(gitdir, above)):
            below = os.path.join(above, name)
            if os.path.lexists(os.path.join(gitdir, below, "HEAD")):
                inner.append(below)
                below = os.path.join(below, "modules")
            unread.append(below)  # the name of a submodule may have slashes in it
    return tuple(os.path.join(folder, part) for folder in inner for part in GIT_PARTS)


def _folders(path: str) -> list[str]:
    try:
        if os.path.islink(path):
            return []
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


class _Guarded:
    """One protected path as it was."""

    def __init__(self, item: Protected, budget: int) -> None:
        self.item = item
        self.path = item.path
        self.status = None if item.kind == "missing" else os.lstat(item.path)
        git = item.kind == "dir" and item.via in (".git", "gitdir", "commondir")
        names = _git_parts(item.path) if git else ("",)
        self.parts: dict[str, Tree | None] = {}
        if item.kind != "missing":
            for name in names:
                tree = _read(os.path.join(item.path, name) if name else item.path, budget)
                self.parts[name] = tree
                budget -= sum(len(content) for _, _, content in (tree or {}).values())
        self.left = budget

    def restore(self) -> Iterator[str]:
        """Put it right; what was done to it, in words."""
        path = self.item.path
        if self.status is None:
            if os.path.lexists(path):
                _remove(path)
                yield f"created {path}"
            return
        now = os.lstat(path) if os.path.lexists(path) else None
        if now is None or (now.st_dev, now.st_ino) != (self.status.st_dev, self.status.st_ino):
            yield f"{'removed' if now is None else 'replaced'} {path}"
            self._bring_back()
        if stat.S_ISDIR(self.status.st_mode):
            os.chmod(path, stat.S_IMODE(self.status.st_mode))
        for name, tree in self.parts.items():
            part = os.path.join(path, name) if name else path
            if os.sep in name:
                _plain(os.path.dirname(part))  # a link on the way would lead us elsewhere
            try:
                same = _read(part, 2 * BUDGET) == tree
            except (LaunchError, OSError):
                same = False
            if not same:
                yield f"changed {part}"
                if tree is None:
                    _remove(part)
                else:
                    _write(part, tree)

    def _bring_back(self) -> None:
        """The very directory if it was moved within its folder, else an empty one for the parts."""
        assert self.status is not None
        path = self.item.path
        folder = os.path.dirname(path)
        _plain(folder)
        _remove(path)
        with os.scandir(folder) as entries:
            moved = next((entry.path for entry in entries if entry.inode() == self.status.st_ino), None)
        if moved is not None:
            os.rename(moved, path)
        elif stat.S_ISDIR(self.status.st_mode):
            os.mkdir(path)


def _plain(folder: str) -> None:
    """Have `folder` be a directory that is reached without symlinks: it was, when it was remembered."""
    if os.path.realpath(folder) == folder and os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    _plain(parent)
    _remove(folder)
    os.mkdir(folder)


class _Place:
    """A folder below a writable root that must stay where it is: another root, or on the way to one."""

    def __init__(self, path: str) -> None:
        self.path = path
        status = os.lstat(path)
        self._identity = (status.st_dev, status.st_ino)

    def restore(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):
            now = os.lstat(self.path)
            if (now.st_dev, now.st_ino) == self._identity:
                return
            if stat.S_ISLNK(now.st_mode):
                os.unlink(self.path)
            else:
                os.rename(self.path, f"{self.path}.replaced-{os.urandom(4).hex()}")
        with os.scandir(os.path.dirname(self.path)) as entries:
            moved = next((entry.path for entry in entries if entry.inode() == self._identity[1]), None)
        if moved is None:
            yield f"lost {self.path}"
        else:
            os.rename(moved, self.path)
            yield f"moved {self.path}"


def _places(view: View) -> list[str]:
    """Every folder from one root down to another one inside it, shallow before deep."""
    tops = [root.path for root in view.roots]
    found: set[str] = set()
    for path in tops:
        here = path
        while any(here != top and inside(here, top) for top in tops):
            found.add(here)
            here = os.path.dirname(here)
    return sorted(found)


class Guard:
    """All protected paths of one view, and the places of its roots. Raises LaunchError where one cannot be remembered."""

    def __init__(self, view: View) -> None:
        self._kept = [_Place(path) for path in _places(view)]
        budget = BUDGET
        self._guarded: list[_Guarded] = []
        for root in view.roots:
            for item in root.protected:
                if item.via == SERVER:
                    continue  # it changes while the command runs, and may be of any size
                try:
                    guarded = _Guarded(item, budget)
                except OSError as error:
                    raise LaunchError(f"cannot guard {item.path}: {error.strerror}") from error
                self._guarded.append(guarded)
                budget = guarded.left

    def restore(self) -> tuple[str, ...]:
        """Put all right. What was done and undone, and what could not be."""
        found: list[str] = []
        all_kept: tuple[_Place | _Guarded, ...] = (*self._kept, *self._guarded)
        for kept in all_kept:
            try:
                found += kept.restore()
            except OSError as error:
                found.append(f"could not restore {kept.path}: {error.strerror}")
        return tuple(found)
