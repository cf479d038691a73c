"""Processes as /proc tells of them: who they are, who is below whom, and signalling exactly the one that is meant."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Container

import msgspec

__all__ = [
    "Process",
    "children",
    "environ_has",
    "exit_status",
    "filters",
    "kill_descendants",
    "look",
    "reap",
    "reap_strays",
    "send",
]

_EXIT_CODE = 49
"""Which field of /proc/PID/stat, counted from the state."""
_ENVIRON_FIELDS = slice(47, 49)
"""Where `env_start` and `env_end` stand in a stat line, counted from the state."""
_TIMES = slice(11, 15)
"""utime, stime, cutime, cstime."""
_DEAD = "ZX"


class Process(msgspec.Struct, frozen=True):
    """One process; `start` (clock ticks since boot) tells it from a later one of the same number."""

    pid: int
    start: int
    parent: int
    session: int
    state: str
    ticks: int = 0
    """Processor time of it and of those it waited for, in clock ticks."""

    @property
    def alive(self) -> bool:
        return self.state not in _DEAD


def look(pid: int) -> Process | None:
    """The process now under this number, a zombie included."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The name in parentheses may itself contain spaces and parentheses.
    fields = line[line.rindex(b")") + 2 :].split()
    ticks = sum(map(int, fields[_TIMES]))
    return Process(pid, int(fields[19]), int(fields[1]), int(fields[3]), fields[0].decode(), ticks)


def exit_status(pid: int) -> int:
    """How a process ended whose parent has not asked yet, as `os.waitpid` would tell; 0 if that cannot be seen, too."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return int(fields[_EXIT_CODE]) if len(fields) > _EXIT_CODE and fields[0] == b"Z" else 0


def children(pid: int) -> list[int]:
    """The children of a process, of all its threads."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except FileNotFoundError:
            if os.path.isdir(f"/proc/{pid}/task/{thread}"):
                return _children_the_long_way(pid)  # a kernel without CONFIG_PROC_CHILDREN
        except OSError:
            continue
    return found


def _children_the_long_way(pid: int) -> list[int]:
    seen = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process.pid for process in seen if process is not None and process.parent == pid]


def kill_descendants(pid: int) -> None:
    """KILL everything below `pid`, without waiting; for a process that is about to end itself.

    Looks again until nothing new appears: what is killed can have forked just before.
    """
    seen: set[int] = set()
    while fresh := [child for child in _below(pid) if child not in seen]:
        for child in fresh:
            seen.add(child)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    found: list[int] = []
    queue = [pid]
    while queue:
        for child in children(queue.pop()):
            if child not in found:
                found.append(child)
                queue.append(child)
    return found


def reap_strays(keep: Container[int]) -> list[int]:
    """Reap zombie children of ours whose number is not in `keep`; the pids reaped.

    For orphans that came to us and died unnoticed. `keep` must hold every child somebody still waits for.
    """
    reaped: list[int] = []
    for pid in children(os.getpid()):
        if pid in keep:
            continue
        process = look(pid)
        if process is not None and not process.alive and reap(pid):
            reaped.append(pid)
    return reaped


def reap(pid: int) -> bool:
    """Whether a child of ours had ended, and is no more."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def environ_has(pid: int, mark: bytes) -> bool | None:
    """Whether the process was given this variable; None while an execve is replacing what could tell."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
        if environ:
            return mark in environ.split(b"\0")
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return False
    fields = line[line.rindex(b")") + 2 :].split()
    start, end = map(int, fields[_ENVIRON_FIELDS])
    # Both are 0 until the new program has its stack, and apart when it got it just after we read: ask again then.
    in_exec = start == 0 or start != end
    return None if in_exec and fields[0].decode() not in _DEAD else False


def filters(pid: int) -> int:
    """How many seccomp filters a process runs under; it cannot hide them."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(b"Seccomp_filters:")), 0)
    except OSError:
        return 0


def send(process: Process, number: int) -> None:
    """Signal exactly this process: the number may already be another's."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        now = look(process.pid)
        if now is not None and now.start == process.start:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)
