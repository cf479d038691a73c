"""A control group for a thread with limits: its worker and all that its worker starts, held by the kernel.

    DELEGATED/bulkhead-SERVER/THREAD.LOAD.EPOCH/          memory.max, pids.max, memory.oom.group
        worker/                                           the worker, and commands without limits of their own
        bulkhead-PID-N/                                   commands with limits of their own (`sandbox_backends.limits`)

This needs a cgroup v2 in which the server may make groups: a systemd service with `Delegate=yes`, or
`systemd-run --user --scope -p Delegate=yes bulkhead app-server`. There groups that hold processes may not have limited
ones below, so the server moves itself and its workers aside first, if nobody else is in its group. Where none of
this is to be had, rlimits and looking stand in (`workers/bounds.py`, `supervisor/limits.py`).
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress

from config.settings import Limits
from sandbox_backends import tree
from sandbox_backends.limits import CONTROLLERS, delegated, unusable
from supervisor.footprint import Footprint

__all__ = ["Compartment", "Compartments"]

log = logging.getLogger("bulkhead.compartments")

AUTO, OFF = "auto", "off"
ASIDE = "bulkhead-server"
_MIB = 2**20
REMOVE_TRIES, REMOVE_PAUSE_S = 40, 0.005
"""A killed process leaves its group when it is reaped, within milliseconds."""


class Compartment:
    """One incarnation's group. All of this are files in memory: microseconds."""

    def __init__(self, path: str, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        self.worker = os.path.join(path, "worker")

    def set_up(self, pid: int) -> None:
        """Make the group and put the worker in. Raises OSError."""
        os.mkdir(self.path)
        if self._limits.memory_mib:
            self._write("memory.max", self._limits.memory_mib * _MIB)
            self._write(
                "memory.oom.group", 1
            )  # one of the thread's over the limit: all of it ends, not a part
            with suppress(OSError):  # no swap accounting in this kernel
                self._write("memory.swap.max", 0)
        if self._limits.processes:
            self._write("pids.max", self._limits.processes)
        self._write("cgroup.subtree_control", "+memory +pids")
        os.mkdir(self.worker)
        self._write("worker/cgroup.procs", pid)

    def over(self) -> str:
        """The limit that the kernel has held the thread to, in words; empty if none."""
        limits = self._limits
        if limits.memory_mib and self._event("memory.events", b"oom_kill"):
            return f"memory_mib = {limits.memory_mib}, ended by the kernel (oom_kill)"
        # Before Linux 6.11 it counts where the fork was refused, then where the limit is.
        if limits.processes and any(self._event(f"{at}pids.events", b"max") for at in ("", "worker/")):
            return f"processes = {limits.processes}, the kernel refused one more (pids.max)"
        return ""

    def used(self) -> Footprint:
        """Memory that cannot be given back (bytes), processes, processor time (seconds, of the ended too)."""
        return Footprint(
            memory=self._event("memory.stat", b"anon"),
            processes=int(self._read("pids.current") or 0),
            cpu=self._event("cpu.stat", b"usage_usec") / 1e6,
        )

    def clear_away(self) -> None:
        """End what is left in it and remove it; blocks for milliseconds."""
        with suppress(OSError):
            self._write("cgroup.kill", 1)
        for _ in range(REMOVE_TRIES):
            folders = [folder for folder, _, _ in os.walk(self.path, topdown=False)]
            for folder in folders:
                with suppress(OSError):
                    os.rmdir(folder)
            if not os.path.isdir(self.path):
                return
            time.sleep(REMOVE_PAUSE_S)
        log.warning("control group %s could not be removed", self.path)

    def _event(self, name: str, key: bytes) -> int:
        """A number of a file with lines of `KEY NUMBER`; 0 if it is not there."""
        for line in self._read(name).splitlines():
            fields = line.split()
            if len(fields) == 2 and fields[0] == key:
                return int(fields[1])
        return 0

    def _read(self, name: str) -> bytes:
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def _write(self, name: str, value: object) -> None:
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))


class Compartments:
    """`place`: `auto`, `off`, or a delegated cgroup. Nothing is made before the first thread with such limits."""

    def __init__(self, server: str, place: str) -> None:
        self._server = server
        self._place = place
        self._root: str | None = None
        self.why_not = "" if place != OFF else "switched off"

    def enclose(self, name: str, pid: int, limits: Limits) -> Compartment | None:
        """A group around a worker that has no children yet; None where there is none to be had or nothing to hold."""
        if self.why_not or not (limits.memory_mib or limits.processes or limits.turn_cpu_s):
            return None
        if self._root is None and not self._open():
            log.info("threads are not held to their limits by control groups: %s", self.why_not)
            return None
        compartment = Compartment(os.path.join(str(self._root), name), limits)
        try:
            compartment.set_up(pid)
        except OSError as error:
            log.warning("no control group for worker %d: %s", pid, error)
            compartment.clear_away()
            return None
        return compartment

    def _open(self) -> bool:
        """Find or make the group that all others are made in."""
        folder, why = (self._place, unusable(self._place)) if self._place != AUTO else _own_or_aside()
        if folder is None or why:
            self.why_not = why
            return False
        self._root = os.path.join(folder, f"bulkhead-{self._server}")
        try:
            os.mkdir(self._root)
            with open(os.path.join(self._root, "cgroup.subtree_control"), "w", encoding="ascii") as file:
                file.write("+memory +pids")
        except OSError as error:
            self.why_not = f"{self._root}: {error.strerror}"
        return not self.why_not

    def close(self) -> None:
        """Remove what is empty by now."""
        if self._root is not None:
            with suppress(OSError):
                os.rmdir(self._root)


def _own_or_aside() -> tuple[str | None, str]:
    """The group to make others in and "", or why there is none."""
    here = _own_group()
    if here is None:
        return None, "no cgroup v2 hierarchy is mounted"
    why = _move_aside(here)
    if not why:
        return here, unusable(here)
    folder, _ = delegated()  # the group above may be the one that is ours
    return folder, "" if folder is not None else why


def _move_aside(here: str) -> str:
    """Take all processes out of our group, if they are ours, so that limited ones can be made in it; why not."""
    try:
        with open(os.path.join(here, "cgroup.controllers"), encoding="ascii") as file:
            missing = CONTROLLERS - set(file.read().split())
        if missing:
            return f"{here} has no {' and '.join(sorted(missing))} controller"
        with open(os.path.join(here, "cgroup.procs"), encoding="ascii") as file:
            members = set(map(int, file.read().split()))
        if members - _family():
            return f"{here} holds other processes than the server's"
        aside = os.path.join(here, ASIDE)
        os.makedirs(aside, exist_ok=True)
        for pid in members:
            with suppress(ProcessLookupError), open(os.path.join(aside, "cgroup.procs"), "w") as file:
                file.write(str(pid))
    except OSError as error:
        return f"{here} is not delegated to this user: {error.strerror}"
    return ""


def _own_group() -> str | None:
    """The folder of the cgroup v2 that this process is in."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounts = [line.split()[4] for line in file if " - cgroup2 " in line]
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        own = next((line.strip()[3:] for line in file if line.startswith("0::")), None)
    return os.path.normpath(mounts[0] + own) if mounts and own else None


def _family() -> set[int]:
    """Ourselves and all below."""
    found = [os.getpid()]
    for pid in found:
        found += [child for child in tree.children(pid) if child not in found]
    return set(found)
