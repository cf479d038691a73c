"""From a plan and its backend to a running process, with all that it holds; or why there is none."""

from __future__ import annotations

import errno
import os

import msgspec

from sandbox_backends.backend import Backend, Launch
from sandbox_backends.errors import LaunchError
from sandbox_backends.ghosts import Ghosts
from sandbox_backends.limits import Cgroup, gate
from sandbox_backends.plan import ExecPlan
from sandbox_backends.planner import find_program
from sandbox_backends.result import NOT_EXECUTABLE, NOT_FOUND
from sandbox_backends.spawn import Spawned, spawn
from sandbox_backends.view import verify

__all__ = ["Launched", "NotRunnable", "launch"]

EXEC_ERRORS = frozenset(
    (
        errno.E2BIG,
        errno.EACCES,
        errno.ELOOP,
        errno.ENOENT,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.ETXTBSY,
    )
)
"""What the kernel says of a program it will not run; anything else is the machine's trouble."""


class NotRunnable(msgspec.Struct, frozen=True):
    """The program is not there or cannot be executed: a result, in the shape of a shell that could not."""

    exit_code: int
    text: str


class Launched(msgspec.Struct):
    """A started command. `release` when its last process is gone."""

    child: Spawned
    launch: Launch
    ghosts: Ghosts
    cgroup: Cgroup | None

    def release(self) -> None:
        self.ghosts.release()
        if self.cgroup is not None:
            self.cgroup.remove()


def _missing(plan: ExecPlan) -> NotRunnable | None:
    name = plan.argv[0]
    program = find_program(name, plan.cwd, plan.env)
    if program is None or not os.path.exists(program):
        return NotRunnable(NOT_FOUND, os.strerror(errno.ENOENT) if "/" in name else "command not found")
    if os.path.isdir(program):
        return NotRunnable(NOT_EXECUTABLE, os.strerror(errno.EISDIR))
    if not os.access(program, os.X_OK):
        return NotRunnable(NOT_EXECUTABLE, os.strerror(errno.EACCES))
    return None


async def launch(plan: ExecPlan, backend: Backend) -> Launched | NotRunnable:
    """Start it; nothing awaits between the process and its owner. Raises RootReplacedError and LaunchError."""
    missing = _missing(plan)
    if missing is not None:
        return missing
    built = backend.build(plan)
    ghosts = Ghosts()
    cgroup: Cgroup | None = None
    try:
        if plan.cgroup is not None:
            cgroup = Cgroup(plan.limits, plan.cgroup)
            built.argv = (*gate(), *built.argv)
        # Before our own mkdir in the roots, and again after: it may have had to wait.
        verify(plan.view)
        await ghosts.hold(built.ghosts)
        verify(plan.view)
        return Launched(spawn(plan, built, cgroup), built, ghosts, cgroup)
    except BaseException as error:
        ghosts.release()
        built.close()
        if cgroup is not None:
            cgroup.remove()
        cause = error.__cause__
        if (
            isinstance(error, LaunchError)
            and isinstance(cause, OSError)
            and cause.errno in EXEC_ERRORS
            and cause.filename == built.argv[0]
        ):
            code = NOT_FOUND if cause.errno == errno.ENOENT else NOT_EXECUTABLE
            return NotRunnable(code, cause.strerror or "")
        raise
