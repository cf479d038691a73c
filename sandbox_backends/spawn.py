"""Starting the process: the descriptors it gets, and those we keep."""

from __future__ import annotations

import itertools
import os
import subprocess

import msgspec

from sandbox_backends.backend import Launch
from sandbox_backends.confinement import run_confined
from sandbox_backends.errors import LaunchError
from sandbox_backends.family import MARK
from sandbox_backends.limits import Cgroup
from sandbox_backends.plan import ExecPlan
from sandbox_backends.scoped import run_scoped
from sandbox_backends.terminal import open_terminal

__all__ = ["Spawned", "spawn"]

_serial = itertools.count(1)


class Spawned(msgspec.Struct):
    """A started process and our ends of its pipes. All descriptors are the caller's to close."""

    process: subprocess.Popen[bytes]
    pidfd: int
    output: int
    stderr: int | None = None
    feed: int | None = None
    mark: str | None = None


def spawn(plan: ExecPlan, launch: Launch, cgroup: Cgroup | None = None) -> Spawned:
    """Start `launch`, which waits at a gate if it is to be in `cgroup`. Raises LaunchError from the OSError; nothing is left open or running then.

    Popen without preexec_fn is a vfork: its cost does not grow with our heap.
    """
    ours: list[int] = []
    theirs: list[int] = []
    process: subprocess.Popen[bytes] | None = None
    stderr_end: int | None = None
    feed_end: int | None = None
    try:
        if plan.stdin == "pty":
            master, slave = open_terminal(plan.pty_size)
            ours.append(master)
            theirs.append(slave)
            feed_end = os.dup(master)  # reading and writing end at different times
            ours.append(feed_end)
            stdin = stdout = stderr = slave
        else:
            end, stdout = os.pipe()
            ours.append(end)
            theirs.append(stdout)
            stderr = stdout
            if plan.streams == "split":
                stderr_end, stderr = os.pipe()
                ours.append(stderr_end)
                theirs.append(stderr)
            stdin = subprocess.DEVNULL
            if plan.stdin == "pipe":
                stdin, feed_end = os.pipe()
                ours.append(feed_end)
                theirs.append(stdin)
        mark = f"{os.getpid()}-{next(_serial)}" if launch.marked else None

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                launch.argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=launch.cwd,
                env={**launch.env, MARK: mark} if mark else launch.env,
                pass_fds=launch.handed,
                start_new_session=launch.new_session,
            )

        if launch.confinement is not None:
            process = run_confined(launch.confinement, start)
        else:
            process = run_scoped(start) if launch.scoped else start()
        if cgroup is not None:
            cgroup.admit(process.pid)
        return Spawned(process, os.pidfd_open(process.pid), ours[0], stderr_end, feed_end, mark)
    except BaseException as error:
        for fd in ours:
            os.close(fd)
        if process is not None:
            process.kill()
            process.wait()
        if isinstance(error, OSError):
            raise LaunchError(f"cannot start {launch.argv[0]}: {error.strerror}") from error
        raise
    finally:
        for fd in theirs:
            os.close(fd)
        launch.close_handed()
