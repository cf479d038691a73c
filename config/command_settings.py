"""The effective settings of a command that belongs to no thread."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from config.document import Document
from config.permissions import sandbox_of, workspace_of
from config.places import absolute
from config.projects import with_project_layers
from config.settings import ShellEnvironmentPolicy, settings_of
from config.trust import trust_of
from protocol.policy import SandboxMode, SandboxPolicy

__all__ = ["CommandSettings", "resolve_command"]


class CommandSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a command needs that belongs to no thread. cwd: absolute; need not exist."""

    cwd: str
    sandbox: SandboxPolicy
    shell_environment: ShellEnvironmentPolicy


def resolve_command(
    document: Document,
    cwd: str,
    mode: SandboxMode | None = None,
    *,
    home: str,
    server_cwd: str,
    environ: Mapping[str, str],
) -> CommandSettings:
    """Settings for a command in `cwd`; `mode` is taken in place of the configured one.

    :raises ConfigError: the settings are wrong.
    """
    cwd = absolute(cwd, server_cwd, environ)
    document = with_project_layers(document, cwd, home)
    settings = settings_of(document)
    workspace = workspace_of(document, settings.sandbox_workspace_write, cwd, environ)
    sandbox, _ = sandbox_of(mode or settings.sandbox_mode, workspace, trust_of(cwd, settings.projects))
    return CommandSettings(cwd=cwd, sandbox=sandbox, shell_environment=settings.shell_environment_policy)
