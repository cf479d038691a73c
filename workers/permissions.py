"""Permissions beyond the sandbox of a thread: what the model asks for, what a user grants of it, what that makes of a policy.

The sandbox lets everything be read that is not hidden, so a grant to read changes nothing; it is asked for and told all
the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.permissions import (
    AdditionalFileSystemPermissions,
    AdditionalNetworkPermissions,
    FileSystemSandboxEntry,
    GrantedPermissionProfile,
    PlainPath,
    RequestPermissionProfile,
)
from protocol.policy import DangerFullAccess, ExternalSandbox, ReadOnly, SandboxPolicy, WorkspaceWrite
from sandbox_backends.protection import inside

__all__ = ["Asked", "Confinement", "Permissions", "asked_permissions", "ungrantable"]


class _Network(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool | None = None


class _Files(msgspec.Struct, forbid_unknown_fields=True):
    read: list[str] | None = None
    write: list[str] | None = None


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """As the model spells it; relative paths are meant from the thread's folder."""

    network: _Network | None = None
    file_system: _Files | None = None


class Confinement(msgspec.Struct, frozen=True):
    """What a command is planned with: a policy and the folder that it belongs to."""

    policy: SandboxPolicy
    workspace: str


class Permissions(msgspec.Struct, frozen=True, kw_only=True):
    """`network`: None if it was not spoken of. Paths are absolute, without links at the time they were asked for."""

    network: bool | None = None
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.network is not None or bool(self.read or self.write)

    def with_(self, more: Permissions) -> Permissions:
        return Permissions(
            network=self.network or more.network,
            read=tuple(dict.fromkeys((*self.read, *more.read))),
            write=tuple(dict.fromkeys((*self.write, *more.write))),
        )

    def cover(self, asked: Permissions) -> bool:
        """Whether all that is asked for was granted already."""
        return (not asked.network or self.network is True) and all(
            any(inside(path, granted) for granted in self.write) for path in asked.write
        )

    def granted(self, profile: GrantedPermissionProfile) -> Permissions:
        """What a client grants, as far as it was asked for and has an effect: these permissions or less of them."""
        files = profile.file_system or AdditionalFileSystemPermissions()
        read, write = list(files.read or ()), list(files.write or ())
        if files.entries is not None:
            read = _paths(files.entries, "read")
            write = _paths(files.entries, "write")
        network = profile.network is not None and profile.network.enabled is True
        return Permissions(
            network=True if network and self.network else None,
            read=_within(read, (*self.read, *self.write)),
            write=tuple(path for path in _within(write, self.write) if os.path.isdir(path)),
        )

    def confine(self, policy: SandboxPolicy, cwd: str) -> Confinement:
        """The policy with these permissions in it."""
        if isinstance(policy, DangerFullAccess | ExternalSandbox):
            return Confinement(policy, cwd)
        roots = tuple(path for path in self.write if _is_still(path))
        network = policy.network_access or self.network is True
        if isinstance(policy, WorkspaceWrite):
            more = tuple(root for root in roots if root not in policy.writable_roots and root != cwd)
            widened = msgspec.structs.replace(
                policy, writable_roots=(*policy.writable_roots, *more), network_access=network
            )
            return Confinement(widened, cwd)
        if not roots:
            return Confinement(ReadOnly(network_access=network), cwd)
        # Only what was granted becomes writable: the first of it takes the place of the thread's folder.
        narrow = WorkspaceWrite(
            writable_roots=roots,
            network_access=network,
            exclude_tmpdir_env_var=True,
            exclude_slash_tmp=True,
        )
        return Confinement(narrow, roots[0])

    def shown(self) -> RequestPermissionProfile:
        """For a client's question."""
        files = None
        if self.read or self.write:
            entries = [_entry(path, write=False) for path in self.read]
            entries += [_entry(path, write=True) for path in self.write]
            files = AdditionalFileSystemPermissions(
                read=list(self.read) or None, write=list(self.write) or None, entries=entries
            )
        network = None if self.network is None else AdditionalNetworkPermissions(enabled=self.network)
        return RequestPermissionProfile(network=network, file_system=files)

    def told(self) -> dict[str, Any]:
        """For the model."""
        files = {name: list(paths) for name, paths in (("read", self.read), ("write", self.write)) if paths}
        return {
            "network": None if self.network is None else {"enabled": self.network},
            "file_system": files or None,
        }


def asked_permissions(asked: Asked, cwd: str) -> Permissions:
    """What the model asks for. A link counts as what it leads to: the user must see what he grants."""
    files = asked.file_system or _Files()
    return Permissions(
        network=asked.network.enabled if asked.network is not None else None,
        read=_canonical(files.read or (), cwd),
        write=_canonical(files.write or (), cwd),
    )


def ungrantable(asked: Permissions) -> str | None:
    """Why a grant would have no effect, and what to ask for instead, for the model; None where it would have one.

    What is mounted writable is a folder, and one that is there: a file would have to be replaced from beside it, and
    what is missing would have to be made in the folder above.
    """
    for path in asked.write:
        if os.path.isdir(path):
            continue
        above = os.path.dirname(path)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        what = "is not a folder" if os.path.lexists(path) else "does not exist"
        if above == "/":
            return f"permission to write `{path}` cannot be granted: it {what}, and no folder but `/` is above it"
        return (
            f"permission to write `{path}` cannot be granted: it {what}. "
            f"Ask for the folder that it is to be in, `{above}`"
        )
    return None


def _canonical(paths: Iterable[str], cwd: str) -> tuple[str, ...]:
    real = (os.path.realpath(os.path.join(cwd, os.path.expanduser(path))) for path in paths)
    return tuple(dict.fromkeys(real))


def _paths(entries: Iterable[FileSystemSandboxEntry], access: str) -> list[str]:
    return [
        entry.path.path for entry in entries if entry.access == access and isinstance(entry.path, PlainPath)
    ]


def _within(paths: Iterable[str], asked: tuple[str, ...]) -> tuple[str, ...]:
    clean = (os.path.normpath(path) for path in paths if os.path.isabs(path))
    return tuple(dict.fromkeys(path for path in clean if any(inside(path, top) for top in asked)))


def _is_still(path: str) -> bool:
    """Whether a granted path is a folder that is where it was: a command may have put a link in its place."""
    return os.path.isdir(path) and os.path.realpath(path) == path


def _entry(path: str, *, write: bool) -> FileSystemSandboxEntry:
    return FileSystemSandboxEntry(path=PlainPath(path=path), access="write" if write else "read")
