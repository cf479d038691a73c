"""Permissions beyond a thread's sandbox: what the model asks for, and what a client's user grants of it."""

from __future__ import annotations

from typing import Literal

from protocol.base import UNSET, Absent, Params, Wire

__all__ = [
    "AdditionalFileSystemPermissions",
    "AdditionalNetworkPermissions",
    "FileSystemPath",
    "FileSystemSandboxEntry",
    "FileSystemSpecialPath",
    "GlobPath",
    "GrantedPermissionProfile",
    "PermissionsRequestApprovalParams",
    "PermissionsRequestApprovalResponse",
    "PlainPath",
    "RequestPermissionProfile",
    "SpecialPath",
]


class PlainPath(Wire, kw_only=True, tag_field="type", tag="path"):
    path: str


class GlobPath(Wire, kw_only=True, tag_field="type", tag="glob_pattern"):
    pattern: str


class RootPlace(Wire, kw_only=True, tag_field="kind", tag="root"):
    pass


class MinimalPlace(Wire, kw_only=True, tag_field="kind", tag="minimal"):
    pass


class ProjectRootsPlace(Wire, kw_only=True, tag_field="kind", tag="project_roots"):
    subpath: str | None = None


class TmpdirPlace(Wire, kw_only=True, tag_field="kind", tag="tmpdir"):
    pass


class SlashTmpPlace(Wire, kw_only=True, tag_field="kind", tag="slash_tmp"):
    pass


class UnknownPlace(Wire, kw_only=True, tag_field="kind", tag="unknown"):
    path: str
    subpath: str | None = None


FileSystemSpecialPath = (
    RootPlace | MinimalPlace | ProjectRootsPlace | TmpdirPlace | SlashTmpPlace | UnknownPlace
)
"""Places that have a name. None of them is ever asked for here, and a grant of one grants nothing."""


class SpecialPath(Wire, kw_only=True, tag_field="type", tag="special"):
    value: FileSystemSpecialPath


FileSystemPath = PlainPath | GlobPath | SpecialPath


class FileSystemSandboxEntry(Wire, kw_only=True):
    path: FileSystemPath
    access: Literal["read", "write", "deny"]


class AdditionalFileSystemPermissions(Wire, kw_only=True):
    """`read`, `write`: absolute paths. `entries` says the same in another way, and counts where both are there."""

    read: list[str] | None = None
    write: list[str] | None = None
    entries: list[FileSystemSandboxEntry] | None = None
    glob_scan_max_depth: int | Absent | None = UNSET


class AdditionalNetworkPermissions(Wire, kw_only=True):
    enabled: bool | None = None


class RequestPermissionProfile(Wire, kw_only=True):
    network: AdditionalNetworkPermissions | None = None
    file_system: AdditionalFileSystemPermissions | None = None


class GrantedPermissionProfile(Params, kw_only=True):
    network: AdditionalNetworkPermissions | None = None
    file_system: AdditionalFileSystemPermissions | None = None


class PermissionsRequestApprovalParams(Wire, kw_only=True):
    thread_id: str
    turn_id: str
    item_id: str
    environment_id: str | None = None
    started_at_ms: int
    cwd: str
    reason: str | None = None
    permissions: RequestPermissionProfile


class PermissionsRequestApprovalResponse(Params, kw_only=True):
    """What is granted, as far as it was asked for; `scope`: for the turn (the default) or for the session."""

    permissions: GrantedPermissionProfile
    scope: Literal["turn", "session"] = "turn"
    strict_auto_review: bool | Absent | None = UNSET
