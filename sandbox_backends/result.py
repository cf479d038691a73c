"""What came of a command."""

from __future__ import annotations

import msgspec

from sandbox_backends.denial import Denial
from sandbox_backends.output import Captured

__all__ = ["NOT_EXECUTABLE", "NOT_FOUND", "SETUP_CODE", "ExecResult", "Outcome", "SetupFailure"]

SETUP_CODE = 125
"""Of a command that never ran as its sandbox could not be set up: what env, timeout and the like use for their own failures."""
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Of a program that cannot be executed, or is not there: a shell's."""


class SetupFailure(msgspec.Struct, frozen=True):
    """The sandbox could not be set up, so the command never ran. A matter of configuration, never a denial."""

    reason: str
    remedy: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A backend's reading of how its process ended."""

    started: bool
    exit_code: int
    signal: int | None = None
    setup_failed: SetupFailure | None = None
    companions: tuple[int, ...] = ()
    """Processes of the backend's own that were around the command: when its first ends, they become our children."""


class ExecResult(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one plan.

    `exit_code`: the command's own; 124 after a timeout, 128+n after signal n, 127 not found, 126 not executable, 125
    when the sandbox could not be set up. `output` holds stdout (and stderr when merged). `survivors` are pids that
    outlived the command: only `direct` lets them (`RunningCommand.end` ends them too).
    """

    exit_code: int
    output: Captured
    stderr: Captured | None = None
    started: bool = True
    signal: int | None = None
    timed_out: bool = False
    ended: bool = False
    """Whether `end` or a cancellation stopped it."""
    setup_failed: SetupFailure | None = None
    denial: Denial | None = None
    duration_ms: int = 0
    survivors: tuple[int, ...] = ()
    restored: tuple[str, ...] = ()
    """What the command did to protected paths where it could not be kept from it, and what was put right."""
