"""From a sandbox policy to the concrete paths it means here and now. Nothing but stat(2) and readlink(2).

A command is hostile: whatever lies inside a writable root is its content, so such content may only ever add
*protection*, never grant anything. Paths are canonical; a writable root carries the identity (st_dev, st_ino) of the
directory meant, because between two commands the first one may have put something else in its place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from protocol.policy import SandboxPolicy, WorkspaceWrite
from sandbox_backends.env import network_allowed
from sandbox_backends.errors import ProtectedSymlinkError, RootInvalidError, RootReplacedError
from sandbox_backends.ghosts import is_ghost
from sandbox_backends.own import Own

__all__ = [
    "PROTECTED_NAMES",
    "SERVER",
    "Mask",
    "Pin",
    "Protected",
    "Root",
    "View",
    "inside",
    "pin",
    "resolve",
    "verify",
    "writable",
]

PROTECTED_NAMES = (".git", ".codex", ".agents")
"""What makes the host run code or trust settings later: never writable by a command, existing or not."""
SERVER = "server"
SLASH_TMP = "/tmp"  # noqa: S108 - the policy names it
POINTER_LIMIT = 4096
"""Bytes read of a `.git` file or `commondir`: PATH_MAX, more is no pointer."""


class Pin(msgspec.Struct, frozen=True):
    """The identity of a writable root at the moment its policy was made. `path` is as the policy spells it."""

    path: str
    dev: int
    ino: int


class Protected(msgspec.Struct, frozen=True):
    """A read-only path inside a writable root. `missing` has no entry yet and must not get one."""

    path: str
    kind: Literal["dir", "file", "missing"]
    via: str
    """Why: the protected name, `gitdir`/`commondir` of a worktree pointer, or `server`: it belongs to the server."""


class Root(msgspec.Struct, frozen=True):
    path: str
    dev: int
    ino: int
    protected: tuple[Protected, ...] = ()


class Mask(msgspec.Struct, frozen=True):
    """A path nobody inside may even read, such as the credential file."""

    path: str
    kind: Literal["dir", "file"]
    server: bool = False
    """Whether it is hidden for what could be done with it, not for what could be read."""


class View(msgspec.Struct, frozen=True):
    """Everything may be read but `masked`; nothing may be written but below `roots` less their protected paths."""

    roots: tuple[Root, ...] = ()
    masked: tuple[Mask, ...] = ()


def inside(path: str, top: str) -> bool:
    """Whether `path` is `top` or below it; both canonical."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def writable(view: View, path: str) -> bool:
    """Whether the view lets a command write at `path`: the deepest rule over it decides."""
    best, verdict = -1, False
    for root in view.roots:
        if inside(path, root.path) and len(root.path) > best:
            best, verdict = len(root.path), True
    roots = {root.path for root in view.roots}
    for root in view.roots:
        for item in root.protected:
            if item.path not in roots and inside(path, item.path) and len(item.path) > best:
                best, verdict = len(item.path), False
    return verdict


def _candidates(policy: WorkspaceWrite, workspace: str, env: Mapping[str, str]) -> Iterable[tuple[str, bool]]:
    """(path, required): every directory the policy makes writable, as it is spelled."""
    for path in policy.writable_roots:
        yield path, True
    yield workspace, True
    if not policy.exclude_slash_tmp:
        yield SLASH_TMP, False
    tmpdir = env.get("TMPDIR", "")
    if tmpdir and os.path.isabs(tmpdir) and not policy.exclude_tmpdir_env_var:
        yield tmpdir, False


def _identify(policy: WorkspaceWrite, workspace: str, env: Mapping[str, str]) -> dict[str, Pin]:
    """Canonical path -> identity of each root, shallow before deep."""
    found: dict[str, Pin] = {}
    home = os.path.realpath(env["HOME"]) if os.path.isabs(env.get("HOME", "")) else None
    for path, required in _candidates(policy, workspace, env):
        if not os.path.isabs(path):
            raise RootInvalidError(path, "is not absolute")
        real = os.path.realpath(path)
        try:
            status = os.stat(real)
        except OSError:
            if required:
                raise RootInvalidError(path, "does not exist") from None
            continue
        if not stat.S_ISDIR(status.st_mode):
            if required:
                raise RootInvalidError(path, "is not a directory")
            continue
        if not required and (real == "/" or (home is not None and inside(home, real))):
            continue  # a TMPDIR that is no place for temporary files
        if real == "/":
            raise RootInvalidError(path, "is the whole file system")
        if required and home is not None and inside(home, real) and path not in policy.writable_roots:
            # Shell start-up files and credentials of every other tool lie there.
            raise RootInvalidError(
                path, "contains the home directory; list it in writableRoots to allow that"
            )
        found.setdefault(real, Pin(path, status.st_dev, status.st_ino))
    return dict(sorted(found.items(), key=lambda entry: (entry[0].count("/"), entry[0])))


def pin(policy: SandboxPolicy, workspace: str, env: Mapping[str, str]) -> tuple[Pin, ...]:
    """Take the identities when a policy enters (thread or turn start); hand them to every later `resolve`."""
    if not isinstance(policy, WorkspaceWrite):
        return ()
    return tuple(_identify(policy, workspace, env).values())


def resolve(
    policy: SandboxPolicy,
    workspace: str,
    env: Mapping[str, str],
    *,
    pins: Iterable[Pin] = (),
    own: Own | None = None,
) -> View:
    """The view of `policy`. `workspace` is the directory the policy belongs to, not the cwd of one command.

    `own` is what belongs to the server.

    Raises RootInvalidError, RootReplacedError (identity differs from `pins`) and ProtectedSymlinkError.
    """
    own = own or Own()
    masks = [_mask(path) for path in own.masked if os.path.lexists(path)]
    hidden = [Mask(os.path.realpath(path), "dir", server=True) for path in own.hidden if os.path.isdir(path)]
    if not isinstance(policy, WorkspaceWrite):
        # A read-only mount keeps nobody from a socket in it; without a network there are no sockets.
        return View((), (*masks, *hidden) if network_allowed(policy) else tuple(masks))
    expected = {item.path: (item.dev, item.ino) for item in pins}
    found = _identify(policy, workspace, env)
    for now in found.values():
        if expected.get(now.path, (now.dev, now.ino)) != (now.dev, now.ino):
            raise RootReplacedError(now.path)
    names = tuple(found)
    scratch = {os.path.realpath(SLASH_TMP), os.path.realpath(env.get("TMPDIR") or SLASH_TMP)}
    scratch.discard(os.path.realpath(workspace))
    kept = [real for path in own.kept if os.path.exists(real := os.path.realpath(path))]
    return View(
        tuple(
            Root(
                real,
                now.dev,
                now.ino,
                (*(() if real in scratch else _protected(real, names)), *_kept(real, names, kept)),
            )
            for real, now in found.items()
        ),
        tuple(masks)
        + tuple(
            mask for mask in hidden if policy.network_access or any(inside(mask.path, name) for name in names)
        ),
    )


def verify(view: View) -> None:
    """Raise RootReplacedError if a root is not what it was when the plan was made: an approval may take hours."""
    for root in view.roots:
        try:
            status = os.lstat(root.path)
        except OSError:
            raise RootReplacedError(root.path) from None
        if (status.st_dev, status.st_ino) != (root.dev, root.ino):
            raise RootReplacedError(root.path)


def _mask(path: str) -> Mask:
    real = os.path.realpath(path)
    return Mask(real, "dir" if os.path.isdir(real) else "file")


def _kept(root: str, roots: tuple[str, ...], own: Iterable[str]) -> Iterable[Protected]:
    """What belongs to the server and lies in this root, and in no deeper one."""
    for path in own:
        over = max((name for name in roots if inside(path, name)), key=len, default="")
        if over == root and path not in roots:
            yield Protected(path, "dir" if os.path.isdir(path) else "file", SERVER)


def _protected(root: str, roots: tuple[str, ...]) -> Iterable[Protected]:
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
            continue
        yield Protected(path, "file", name)
        if name == ".git":
            yield from _worktree(path, roots)


def _worktree(pointer: str, roots: tuple[str, ...]) -> Iterable[Protected]:
    """What a `.git` *file* makes git read hooks and configuration from, as far as it is writable."""
    text = _read(pointer)
    if text is None or not text.startswith("gitdir:"):
        return
    gitdir = _follow(os.path.dirname(pointer), text[len("gitdir:") :].strip(), roots)
    targets = [(gitdir, "gitdir")]
    common = _read(os.path.join(gitdir, "commondir"))
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


def _read(path: str) -> str | None:
    try:
        # O_NONBLOCK: a FIFO planted under the name must not hang us.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return os.read(fd, POINTER_LIMIT).decode("utf-8", "surrogateescape").split("\n", 1)[0]
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
