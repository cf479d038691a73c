"""What goes wrong before a command runs. What goes wrong *in* it is an `ExecResult`, never an exception.

SandboxError
├── PlanError                   the request cannot become a plan; nothing was started
│   ├── EmptyCommandError       no argv, or an argument that no exec can carry
│   ├── CwdMissingError         the working directory is no directory
│   ├── RootInvalidError        a writable root is relative, missing, `/` or the home directory
│   ├── RootReplacedError       a writable root is not the directory it was when the policy was made
│   └── ProtectedSymlinkError   a protected path is reached through a symlink the command could change
├── SandboxUnavailable          no backend on this machine can enforce the policy
├── LaunchError                 the plan is good, the machine refused to start it (descriptors, processes)
│   └── GhostBusyError          a mount point for a missing protected name could not be had
└── StdinError                  bytes for a command that takes none (closed, null, or far too many at once)
"""

from __future__ import annotations

__all__ = [
    "CwdMissingError",
    "EmptyCommandError",
    "GhostBusyError",
    "LaunchError",
    "PlanError",
    "ProtectedSymlinkError",
    "RootInvalidError",
    "RootReplacedError",
    "SandboxError",
    "SandboxUnavailable",
    "StdinError",
]


class SandboxError(Exception):
    """Anything this package refuses."""


class PlanError(SandboxError):
    """The request cannot become a plan."""


class EmptyCommandError(PlanError):
    """No program to run."""


class CwdMissingError(PlanError):
    """`path` is not a directory one can work in."""

    def __init__(self, path: str) -> None:
        super().__init__(f"working directory does not exist: {path}")
        self.path = path


class RootInvalidError(PlanError):
    """`path` cannot be a writable root; `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"writable root {path!r} {reason}")
        self.path = path
        self.reason = reason


class RootReplacedError(PlanError):
    """`path` was another directory when the policy was made. Running would grant writes to a stranger."""

    def __init__(self, path: str) -> None:
        super().__init__(f"writable root was replaced since the policy was made: {path}")
        self.path = path


class ProtectedSymlinkError(PlanError):
    """`path` must stay read-only, but `link` on the way to it is a symlink inside a writable root."""

    def __init__(self, path: str, link: str) -> None:
        super().__init__(f"cannot protect {path}: {link} is a symlink inside a writable root")
        self.path = path
        self.link = link


class SandboxUnavailable(SandboxError):
    """No backend can enforce the policy here. `remedy` is what an operator can do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason} ({remedy})" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


class LaunchError(SandboxError):
    """The machine refused to start a good plan."""


class GhostBusyError(LaunchError):
    """`path` could not be made a mount point: something else holds it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot protect the missing name {path}: {reason}")
        self.path = path


class StdinError(SandboxError):
    """The command's standard input does not take these bytes."""
