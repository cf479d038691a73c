"""What a thread's commands may do: the sandbox and the approvals that the configuration means."""

from __future__ import annotations

from collections.abc import Mapping

from config.document import Document
from config.errors import PermissionsNotFoundError
from config.places import absolute, folder_of
from config.settings import SandboxWorkspaceWrite, Settings
from config.trust import TrustLevel
from protocol.policy import (
    PROFILE_MODES,
    ApprovalPolicy,
    ReadOnly,
    SandboxMode,
    SandboxPolicy,
    WorkspaceWrite,
    policy_of_mode,
)
from protocol.threads import PermissionProfile

__all__ = ["approval_of", "named_sandbox", "sandbox_of", "workspace_of"]


def approval_of(settings: Settings, trust: TrustLevel | None) -> ApprovalPolicy:
    policy = settings.approval_policy
    if policy == "on-failure":
        return "on-request"
    return policy or ("untrusted" if trust == "untrusted" else "on-request")


def sandbox_of(
    mode: SandboxMode | None, workspace: WorkspaceWrite | None, trust: TrustLevel | None
) -> tuple[SandboxPolicy, PermissionProfile | None]:
    """The policy, and the named profile if it was not chosen by hand.

    A folder the user has decided about, either way, may be written to: in a distrusted one every command is asked
    about instead. In all others nothing is written.
    """
    if mode is not None:
        return policy_of_mode(mode, workspace), None
    if trust is None:
        return ReadOnly(), PermissionProfile(id=":read-only")
    return workspace or WorkspaceWrite(), None if workspace else PermissionProfile(id=":workspace")


def named_sandbox(name: str) -> tuple[SandboxPolicy, PermissionProfile]:
    mode = PROFILE_MODES.get(name)
    if mode is None:
        raise PermissionsNotFoundError(name)
    return policy_of_mode(mode), PermissionProfile(id=name)


def workspace_of(
    document: Document,
    table: SandboxWorkspaceWrite | None,
    cwd: str,
    environ: Mapping[str, str],
) -> WorkspaceWrite | None:
    """`[sandbox_workspace_write]` with absolute roots: those of a file are meant from the file's folder."""
    if table is None:
        return None
    layer = document.layer_of(("sandbox_workspace_write", "writable_roots"))
    base = folder_of(layer, cwd)
    roots = dict.fromkeys(absolute(root, base, environ) for root in table.writable_roots)
    roots.pop(cwd, None)
    return WorkspaceWrite(
        writable_roots=tuple(roots),
        network_access=table.network_access,
        exclude_tmpdir_env_var=table.exclude_tmpdir_env_var,
        exclude_slash_tmp=table.exclude_slash_tmp,
    )
