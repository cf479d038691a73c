"""Finding and ending everything that descends from a command, setsid and double forks included.

The calling process is to be a child subreaper (`prctl.become_subreaper`): an orphan then becomes *our* child instead of
init's, and can be found. Whose orphan it is tells, in this order: that it was seen as a descendant before, the session
it is in, or the mark in its environment. An orphan that nothing tells about is left alone: it may belong to another
command of the same worker, or to no command at all. Only of commands confined without namespaces more is known: they
and nothing else of ours run under a filter, so what hides belongs to the only one there is, or ends with the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Container, Iterable
from typing import ClassVar

import msgspec

__all__ = ["MARK", "Family", "Process", "children", "look", "reap_strays"]

MARK = "BULKHEAD_COMMAND"
"""The variable `direct` commands get, unique to each of them."""

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.001, 0.05
KILL_DEADLINE_S = 5.0
"""What a process may take to die of SIGKILL; longer means it sleeps in the kernel and nothing helps."""
BIRTH_SPREAD_TICKS = 200
"""Two seconds between a sandbox's first and second process: much on a loaded machine, little for numbers to wrap."""
REAP_TRIES, REAP_PAUSE_S = 200, 0.001
EXEC_LIMIT_S = 1.0
"""How long a process may be in the middle of an execve before we decide without its environment."""
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
        if process is not None and not process.alive and _reap(pid):
            reaped.append(pid)
    return reaped


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _environ_has(pid: int, mark: bytes) -> bool | None:
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


def _filters(pid: int) -> int:
    """How many seccomp filters a process runs under; it cannot hide them."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(b"Seccomp_filters:")), 0)
    except OSError:
        return 0


class Family:
    """A command and all that came of it. `root` is a child of ours that somebody else waits for (Popen)."""

    confined: ClassVar[set[Family]] = set()
    """Those of commands that run under a filter in our own namespaces."""

    def __init__(self, root: int, mark: str | None = None, *, confined: bool = False) -> None:
        self.root = root
        if confined:
            self.confined.add(self)
        self._mark = f"{MARK}={mark}".encode() if mark else None
        self._our_session = os.getsid(0)
        self._known: set[tuple[int, int]] = set()
        self._sessions: set[int] = set()
        self._unclear = False
        """Whether the last scan met an orphan that could not be told yet; the next one will know."""
        first = look(root)
        self._born = first.start if first is not None else 0
        if first is not None:
            self._note(first)

    def _note(self, process: Process) -> None:
        self._known.add((process.pid, process.start))
        if process.session != self._our_session:
            self._sessions.add(process.session)

    def adopt(self, pid: int) -> None:
        """Count in a process that somebody said belongs here and that became our child.

        It must be about as old as the root: else the number is another's by now.
        """
        process = look(pid)
        if (
            process is not None
            and process.parent == os.getpid()
            and process.start - self._born <= BIRTH_SPREAD_TICKS
        ):
            self._note(process)

    def _ours(self, process: Process) -> bool:
        if (process.pid, process.start) in self._known:
            return True
        if process.session in self._sessions:
            # A session's number may be another's by now; then it has a leader that was never ours.
            leader = look(process.session)
            if leader is None or (leader.pid, leader.start) in self._known:
                return True
        if self._mark is None or not process.alive:
            return False
        marked = _environ_has(process.pid, self._mark)
        if marked is None:
            self._unclear = True
        return bool(marked) or (self.confined == {self} and _filters(process.pid) > _filters(os.getpid()))

    def disband(self) -> None:
        """It counts no more among those that a hidden process may belong to."""
        self.confined.discard(self)

    def scan(self) -> list[Process]:
        """Every member that is there now, zombies included, parents before children."""
        self._unclear = False
        members: dict[int, Process] = {}
        front: list[Process] = []
        for pid in children(os.getpid()):
            process = look(pid)
            if process is not None and self._ours(process):
                front.append(process)
        while front:
            process = front.pop(0)
            if process.pid in members:
                continue
            members[process.pid] = process
            self._note(process)
            front += [found for found in map(look, children(process.pid)) if found is not None]
        return list(members.values())

    def alive(self) -> list[Process]:
        """The members that still run. Those that ended and are ours to reap are reaped."""
        me = os.getpid()
        running: list[Process] = []
        for process in self.scan():
            if process.alive:
                running.append(process)
            elif process.parent == me and process.pid != self.root:
                _reap(process.pid)
        return running

    def signal(self, number: int, *, sheath: int = 0) -> None:
        """Send a signal to all but the outermost `sheath` generations."""
        depth: dict[int, int] = {}
        for process in self.alive():
            depth[process.pid] = depth.get(process.parent, -1) + 1
            if depth[process.pid] >= sheath:
                _send(process, number)

    async def gone(self, seconds: float) -> bool:
        """Wait at most so long for the last member to end; whether it did."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        pause = _FIRST_PAUSE_S
        while self.alive() or self._unclear:
            left = deadline - loop.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LAST_PAUSE_S)
        return True

    async def survey(self) -> list[Process]:
        """The members that still run, those in the middle of an execve included: their mark is awaited."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + EXEC_LIMIT_S
        running = self.alive()
        while self._unclear and loop.time() < deadline:
            await asyncio.sleep(_FIRST_PAUSE_S)
            running = self.alive()
        return running

    async def kill(self, deadline_s: float = KILL_DEADLINE_S) -> list[Process]:
        """SIGKILL until nothing is left, looking again after each round; what is left at the deadline is returned."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        pause = _FIRST_PAUSE_S
        while (running := self.alive()) or self._unclear:
            for process in running:
                _send(process, signal.SIGKILL)
            if loop.time() >= deadline:
                return running
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_S)
        return []

    def kill_now(self) -> None:
        """One round without waiting, for when there is no loop left to wait in."""
        for process in self.alive():
            _send(process, signal.SIGKILL)

    def reap_now(self) -> None:
        """Wait, shortly, for what is about to end. This blocks: it is for probes, not for a loop."""
        for _ in range(REAP_TRIES):
            if not self.alive():
                return
            time.sleep(REAP_PAUSE_S)

    def reap_later(self, running: Iterable[Process]) -> Callable[[], None]:
        """Reap the members in `running`, and what they leave behind, as they end; call the result to stop that."""
        watch = _Watch(self)
        watch.add(running)
        return watch.stop


class _Watch:
    """One pidfd per surviving member: its end is noticed without polling."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._loop = asyncio.get_running_loop()
        self._fds: dict[int, int] = {}

    def add(self, running: Iterable[Process]) -> None:
        for process in running:
            if process.pid in self._fds or process.pid == self._family.root:
                continue
            try:
                fd = os.pidfd_open(process.pid)
            except OSError:
                continue  # gone, or no descriptors left; `end` and `reap_strays` find it still
            self._fds[process.pid] = fd
            self._loop.add_reader(fd, self._gone, process.pid)

    def _gone(self, pid: int) -> None:
        self._drop(pid)
        _reap(pid)
        self.add(self._family.alive())

    def _drop(self, pid: int) -> None:
        fd = self._fds.pop(pid)
        self._loop.remove_reader(fd)
        os.close(fd)

    def stop(self) -> None:
        for pid in tuple(self._fds):
            if self._loop.is_closed():
                os.close(self._fds.pop(pid))
            else:
                self._drop(pid)


def _send(process: Process, number: int) -> None:
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
