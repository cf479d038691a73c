"""What a command may use: processes, memory, file size, processor time.

A delegated cgroup v2 bounds the processes and the memory of all that comes of the command together. Without one the
kernel's older limits stand in: memory and processor time for each process, and processes for the whole user (in a
user namespace, as bubblewrap's, for what is in it). Root is exempt from that last one, which is a gap.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
from functools import lru_cache
from typing import Annotated

import msgspec

from sandbox_backends.errors import LaunchError, SandboxUnavailable
from sandbox_backends.gaps import MEMORY_PER_PROCESS, ROOT_PROCESSES

__all__ = ["CONTROLLERS", "Cgroup", "Limits", "delegated", "gaps", "gate", "rlimits", "unusable"]

PRLIMIT = ("/usr/bin/prlimit", "/bin/prlimit")
CONTROLLERS = frozenset(("memory", "pids"))
SHELL = "/bin/sh"
_HOLD = 'kill -STOP $$ && exec "$@"'
"""No descriptor is needed for this, which the command would inherit."""

_serial = itertools.count(1)
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds for one command and its descendants; None: as for the server itself."""

    processes: Positive | None = None
    memory_bytes: Positive | None = None
    file_size_bytes: Positive | None = None
    cpu_seconds: Positive | None = None

    @property
    def any(self) -> bool:
        return self != Limits()


@lru_cache(maxsize=1)
def _prlimit() -> str | None:
    return next((path for path in PRLIMIT if os.access(path, os.X_OK)), None)


def rlimits(limits: Limits, *, grouped: bool, backend: str) -> tuple[str, ...]:
    """What to put before the command so that it starts with these limits, hard ones.

    `grouped`: a cgroup bounds processes and memory already. Raises SandboxUnavailable without util-linux.
    """
    values = {"fsize": limits.file_size_bytes, "cpu": limits.cpu_seconds}
    if not grouped:
        values["as"] = limits.memory_bytes
        values["nproc"] = limits.processes
        if limits.processes is not None and backend != "linux-bwrap":
            # Counted for the user, in all sessions: what is there already is no fault of the command.
            values["nproc"] = limits.processes + _tasks_of_user()
    words = tuple(f"--{name}={value}:{value}" for name, value in values.items() if value is not None)
    if not words:
        return ()
    program = _prlimit()
    if program is None:
        raise SandboxUnavailable("limits are set, but there is no prlimit program", "install util-linux")
    return (program, *words, "--")


def gaps(limits: Limits, *, grouped: bool) -> tuple[str, ...]:
    """What of the limits is enforced more loosely than they say, one word each."""
    found: list[str] = []
    if limits.memory_bytes is not None and not grouped:
        found.append(MEMORY_PER_PROCESS)
    if limits.processes is not None and not grouped and os.geteuid() == 0:
        found.append(ROOT_PROCESSES)
    return tuple(found)


def _tasks_of_user() -> int:
    """Threads there are of this user now, which is what RLIMIT_NPROC counts."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == os.getuid():
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count


@lru_cache(maxsize=1)
def delegated() -> tuple[str | None, str]:
    """(directory, "") of a cgroup v2 in which we may make groups with limits, or (None, why not)."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file if " - cgroup2 " in line]
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            own = next((line.strip()[3:] for line in file if line.startswith("0::")), None)
    except OSError as error:
        return None, f"/proc cannot be read: {error.strerror}"
    if not mounts or own is None:
        return None, "no cgroup v2 hierarchy is mounted"
    top = mounts[0][4]
    here = os.path.normpath(top + own)
    why = ""
    # A service's processes may stand in a subgroup of what was delegated to it.
    for folder in dict.fromkeys((here, os.path.dirname(here))):
        if len(folder) < len(top):
            continue
        reason = unusable(folder)
        if not reason:
            return folder, ""
        why = why or reason
    return None, why


def unusable(folder: str) -> str:
    """Why no limited groups can be made in this cgroup; empty if they can."""
    control = os.path.join(folder, "cgroup.subtree_control")
    try:
        with open(os.path.join(folder, "cgroup.controllers"), encoding="ascii") as file:
            missing = CONTROLLERS - set(file.read().split())
        if missing:
            return f"{folder} has no {' and '.join(sorted(missing))} controller"
        with open(control, encoding="ascii") as file:
            off = CONTROLLERS - set(file.read().split())
        if off:
            with open(control, "w", encoding="ascii") as file:
                file.write(" ".join(f"+{name}" for name in sorted(off)))
        if not os.access(folder, os.W_OK):
            return f"{folder} is not delegated to this user"
    except OSError as error:
        if error.errno == errno.EBUSY:
            return (
                f"{folder} holds processes itself; run the server in a subgroup (systemd: DelegateSubgroup=)"
            )
        return f"{folder}: {error.strerror}"
    return ""


class Cgroup:
    """One command's own group. Made before it starts, removed when nothing is left in it."""

    def __init__(self, limits: Limits, parent: str) -> None:
        self.path = os.path.join(parent, f"bulkhead-{os.getpid()}-{next(_serial)}")
        try:
            os.mkdir(self.path)
            if limits.processes is not None:
                self._set("pids.max", limits.processes)
            if limits.memory_bytes is not None:
                self._set("memory.max", limits.memory_bytes)
                with contextlib.suppress(OSError):  # no swap accounting in this kernel
                    self._set("memory.swap.max", 0)
        except OSError as error:
            self.remove()
            raise LaunchError(f"cannot limit the command: {self.path}: {error.strerror}") from error

    def _set(self, name: str, value: int) -> None:
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def admit(self, pid: int) -> None:
        """Put in a child of ours that waits at its gate, and let it begin. Raises LaunchError.

        Blocks for the start of a shell, about 1 ms. What the child forks is in the group too.
        """
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            self._set("cgroup.procs", pid)
        except OSError as error:
            raise LaunchError(f"cannot limit the command: {self.path}: {error.strerror}") from error
        os.kill(pid, signal.SIGCONT)  # not reaped yet, so the number is its

    def kill(self) -> None:
        """KILL all in it at once; a fork that races with this dies too."""
        with contextlib.suppress(OSError):
            self._set("cgroup.kill", 1)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


def gate() -> tuple[str, ...]:
    """What to put before a command so that it stops itself before it begins; `Cgroup.admit` lets it go."""
    return (SHELL, "-c", _HOLD, SHELL)
