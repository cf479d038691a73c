"""Approval and sandbox policies, as they stand on the wire and as the workers use them."""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.constraints import AbsolutePath

__all__ = [
    "PROFILE_MODES",
    "ApprovalPolicy",
    "DangerFullAccess",
    "ExternalSandbox",
    "Granular",
    "GranularApproval",
    "ReadOnly",
    "SandboxMode",
    "SandboxPolicy",
    "WorkspaceWrite",
    "policy_of_mode",
]

SandboxMode = Literal["read-only", "workspace-write", "danger-full-access"]


PROFILE_MODES: dict[str, SandboxMode] = {
    ":read-only": "read-only",
    ":workspace": "workspace-write",
    ":danger-full-access": "danger-full-access",
}
"""Permission profiles by name; there are no others."""


class Granular(msgspec.Struct, kw_only=True):
    """Which kinds of approval are asked for at all; the others are declined without asking."""

    mcp_elicitations: bool
    rules: bool
    sandbox_approval: bool
    request_permissions: bool = False
    skill_approval: bool = False


class GranularApproval(msgspec.Struct, kw_only=True):
    granular: Granular


ApprovalPolicy = Literal["untrusted", "on-request", "never"] | GranularApproval


class _Policy(msgspec.Struct, rename="camel", kw_only=True, frozen=True, tag_field="type"):
    pass


class DangerFullAccess(_Policy, kw_only=True, frozen=True, tag="dangerFullAccess"):
    """No sandbox at all."""


class ReadOnly(_Policy, kw_only=True, frozen=True, tag="readOnly"):
    """The whole file system may be read, nothing written."""

    network_access: bool = False


class ExternalSandbox(_Policy, kw_only=True, frozen=True, tag="externalSandbox"):
    """Something around us confines already: commands run as they are."""

    network_access: Literal["restricted", "enabled"] = "restricted"


class WorkspaceWrite(_Policy, kw_only=True, frozen=True, tag="workspaceWrite"):
    """Writes below the cwd, `writable_roots` (absolute paths), /tmp and $TMPDIR only."""

    writable_roots: tuple[AbsolutePath, ...] = ()
    network_access: bool = False
    exclude_tmpdir_env_var: bool = False
    exclude_slash_tmp: bool = False


SandboxPolicy = DangerFullAccess | ReadOnly | ExternalSandbox | WorkspaceWrite


def policy_of_mode(mode: SandboxMode, workspace: WorkspaceWrite | None = None) -> SandboxPolicy:
    """The policy a mode stands for; `workspace` holds the settings of `[sandbox_workspace_write]`."""
    if mode == "danger-full-access":
        return DangerFullAccess()
    if mode == "read-only":
        return ReadOnly()
    return workspace or WorkspaceWrite()
