"""What must stay read-only inside a writable root, and why: names that make the host run code or trust settings.

A root's content is hostile. What is read of it here may only ever add protection.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from typing import Literal

import msgspec

from sandbox_backends.errors import ProtectedSymlinkError
from sandbox_backends.ghosts import is_ghost

__all__ = ["PROTECTED_NAMES", "SERVER", "Protected", "inside", "kept", "protected"]

PROTECTED_NAMES = (".git", ".codex", ".agents")
"""What makes the host run code or trust settings later: never writable by a command, existing or not."""
SERVER = "server"
POINTER_LIMIT = 4096
"""Bytes read of a `.git` file or `commondir`: PATH_MAX, more is no pointer."""
CONFIG_LIMIT = 1 << 18
"""Bytes looked at of a repository's configuration; they have hundreds."""
_INCLUDE = re.compile(r"^\s*\[include(?:if\b[^\]]*)?\]", re.IGNORECASE | re.MULTILINE)
_INCLUDE_PATH = re.compile(r"^\s*(?:\[include[^\]]*\]\s*)?path\s*=\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
"""`path` is a key of these sections only, as far as git's own go."""


class Protected(msgspec.Struct, frozen=True):
    """A read-only path inside a writable root. `missing` has no entry yet and must not get one."""

    path: str
    kind: Literal["dir", "file", "missing"]
    via: str
    """Why: the protected name, `gitdir`/`commondir` of a worktree pointer, `include` of a configuration, or `server`: it belongs to the server."""


def inside(path: str, top: str) -> bool:
    """Whether `path` is `top` or below it; both canonical."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def kept(root: str, roots: tuple[str, ...], own: Iterable[str]) -> Iterable[Protected]:
    """What belongs to the server and lies in this root, and in no deeper one."""
    for path in own:
        over = max((name for name in roots if inside(path, name)), key=len, default="")
        if over == root and path not in roots:
            yield Protected(path, "dir" if os.path.isdir(path) else "file", SERVER)


def protected(root: str, roots: tuple[str, ...]) -> Iterable[Protected]:
    for name in PROTECTED_NAMES:
        path = os.path.join(root, name)
        if path in roots:
            continue  # the policy names it as a writable root itself: the explicit grant wins
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            # Where we cannot create a name the command cannot either.
            if os.access(root, os.W_OK):
                yield Protected(path, "missing", name)
            continue
        if stat.S_ISLNK(status.st_mode):
            # A symlink cannot be a mount point, and its entry could be replaced: fail closed.
            raise ProtectedSymlinkError(path, path)
        if stat.S_ISDIR(status.st_mode):
            yield Protected(path, "missing" if is_ghost(path, status) else "dir", name)
            if name == ".git":
                yield from _included(path, roots)
            continue
        yield Protected(path, "file", name)
        if name == ".git":
            yield from _worktree(path, roots)


def _worktree(pointer: str, roots: tuple[str, ...]) -> Iterable[Protected]:
    """What a `.git` *file* makes git read hooks and configuration from, as far as it is writable."""
    text = _first_line(pointer)
    if text is None or not text.startswith("gitdir:"):
        return
    gitdir = _follow(os.path.dirname(pointer), text[len("gitdir:") :].strip(), roots)
    targets = [(gitdir, "gitdir")]
    common = _first_line(os.path.join(gitdir, "commondir"))
    if common:
        targets.append((_follow(gitdir, common.strip(), roots), "commondir"))
    for path, via in targets:
        if path in roots or not any(inside(path, root) for root in roots):
            continue
        try:
            status = os.lstat(path)
        except OSError:
            continue
        yield Protected(path, "dir" if stat.S_ISDIR(status.st_mode) else "file", via)


def _included(gitdir: str, roots: tuple[str, ...]) -> Iterable[Protected]:
    """The files in the workspace that a repository's configuration includes: they name programs as it does."""
    text = _read(os.path.join(gitdir, "config"), CONFIG_LIMIT) or ""
    for included in dict.fromkeys(_INCLUDE_PATH.findall(text)) if _INCLUDE.search(text) else ():
        if included.startswith("~"):
            continue  # of the home, which is no root
        path = _follow(gitdir, included.strip().strip('"'), roots)
        granted = path in roots or not any(inside(path, root) for root in roots)
        # git does without a file that is missing, and a mount point in its place would be read as one.
        if not granted and not inside(path, gitdir) and os.path.isfile(path):
            yield Protected(path, "file", "include")


def _first_line(path: str) -> str | None:
    text = _read(path, POINTER_LIMIT)
    return None if text is None else text.split("\n", 1)[0]


def _read(path: str, limit: int) -> str | None:
    try:
        # O_NONBLOCK: a FIFO planted under the name must not hang us.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return os.read(fd, limit).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def _follow(start: str, pointer: str, roots: tuple[str, ...]) -> str:
    """Resolve `pointer` as git will, refusing a symlink on the way that the command could turn elsewhere."""
    here = "/" if os.path.isabs(pointer) else os.path.realpath(start)
    for part in pointer.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        here = os.path.join(here, part)
        if os.path.islink(here):
            if any(inside(here, root) for root in roots):
                raise ProtectedSymlinkError(os.path.join(start, pointer), here)
            here = os.path.realpath(here)
    return here
