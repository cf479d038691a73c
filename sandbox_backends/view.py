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
from sandbox_backends.errors import RootInvalidError, RootReplacedError
from sandbox_backends.own import Own
from sandbox_backends.protection import Protected, inside, kept, protected

__all__ = [
    "Mask",
    "Pin",
    "Root",
    "View",
    "pin",
    "resolve",
    "verify",
    "writable",
]

SLASH_TMP = "/tmp"  # noqa: S108 - the policy names it


class Pin(msgspec.Struct, frozen=True):
    """The identity of a writable root at the moment its policy was made. `path` is as the policy spells it."""

    path: str
    dev: int
    ino: int


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
    belonging = [real for path in own.kept if os.path.exists(real := os.path.realpath(path))]
    return View(
        tuple(
            Root(
                real,
                now.dev,
                now.ino,
                (*(() if real in scratch else protected(real, names)), *kept(real, names, belonging)),
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
