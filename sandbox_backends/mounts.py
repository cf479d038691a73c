"""The mounts that make a `View` true, as bubblewrap arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from sandbox_backends.errors import RootReplacedError
from sandbox_backends.protection import Protected, inside
from sandbox_backends.view import Root, View

__all__ = ["mounts", "opened"]

BIND, BIND_FD = "--bind", "--bind-fd"


def _between(top: str, path: str) -> Iterator[str]:
    """The directories strictly between `top` and `path`, deepest first."""
    here = path.rpartition("/")[0]
    while len(here) > len(top):
        yield here
        here = here.rpartition("/")[0]


def _protect(item: Protected) -> tuple[str, ...]:
    if item.kind == "missing":
        # Not remounted read-only, which is a mount more: who chmods it writes into memory of its own.
        return ("--perms", "555", "--tmpfs", item.path)
    return ("--ro-bind", item.path, item.path)


def mounts(view: View) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """(operations, ghosts): the arguments of one operation per path, shallow before deep, so that the more specific rule wins.

    Every directory between a writable root and something special below it is bound onto itself. A mount point cannot
    be renamed (EBUSY), so a command cannot move the parent of a protected path away and plant a tree of its own under
    the old name, nor swap the parent of another root between two commands.
    `ghosts` are the mount points that do not exist yet.
    """
    tops = [root.path for root in view.roots]
    special: dict[str, tuple[str, ...]] = {path: (BIND, path, path) for path in tops}
    ghosts: list[str] = []
    for root in view.roots:
        for item in root.protected:
            if item.path in tops:
                continue
            special[item.path] = _protect(item)
            if item.kind == "missing":
                ghosts.append(item.path)
    for mask in view.masked:
        special[mask.path] = (
            ("--perms", "000", "--tmpfs", mask.path)
            if mask.kind == "dir"
            else ("--ro-bind", "/dev/null", mask.path)
        )
    operations = dict(special)
    for path in special:
        over = [top for top in tops if top != path and inside(path, top)]
        if over:
            for parent in _between(min(over, key=len), path):
                # Inside something protected nothing can be moved, and a writable bind would open it.
                if not any(inside(parent, other) for other in special if other not in tops):
                    operations.setdefault(parent, (BIND, parent, parent))
    ordered = sorted(operations, key=lambda path: (path.count("/"), path))
    return tuple(operations[path] for path in ordered), tuple(ghosts)


def opened(
    operations: Sequence[tuple[str, ...]], view: View
) -> tuple[tuple[tuple[str, ...], ...], tuple[int, ...]]:
    """(operations, descriptors): what is bound writable is bound by descriptor.

    Between our last look at a root and its mount another command may put a symlink in its place, where it may write
    to the folder above. Raises RootReplacedError, and OSError without descriptors.
    """
    descriptors: list[int] = []
    done: list[tuple[str, ...]] = []
    try:
        for operation in operations:
            if operation[0] == BIND:
                descriptors.append(_open(operation[1], view))
                operation = (BIND_FD, str(descriptors[-1]), operation[2])  # noqa: PLW2901 - the same, pinned
            done.append(operation)
    except BaseException:
        for fd in descriptors:
            os.close(fd)
        raise
    return tuple(done), tuple(descriptors)


_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _open(path: str, view: View) -> int:
    """A root that still is what it was, or a folder below one that is reached without symlinks."""
    root = min((root for root in view.roots if inside(path, root.path)), key=lambda root: len(root.path))
    exact = next((root for root in view.roots if root.path == path), None)
    if exact is not None:
        return _open_root(exact)
    fd = _open_root(root)
    for name in os.path.relpath(path, root.path).split("/"):
        try:
            below = os.open(name, _FOLDER, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            raise RootReplacedError(path) from None
        finally:
            os.close(fd)
        fd = below
    return fd


def _open_root(root: Root) -> int:
    try:
        fd = os.open(root.path, _FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        raise RootReplacedError(root.path) from None
    status = os.fstat(fd)
    if (status.st_dev, status.st_ino) != (root.dev, root.ino):
        os.close(fd)
        raise RootReplacedError(root.path)
    return fd
