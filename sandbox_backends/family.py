"""A command and everything that descends from it, setsid and double forks included: finding it and ending it.

The calling process is to be a child subreaper (`prctl.become_subreaper`): an orphan then becomes *our* child instead of
init's, and can be found. Whose orphan it is tells, in this order: that it was seen as a descendant before, the session
it is in, or the mark in its environment. An orphan that nothing tells about is left alone: it may belong to another
command of the same worker, or to no command at all. Only of commands confined without namespaces more is known: they
and nothing else of ours run under a filter, so what hides belongs to the only one there is, or ends with the last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import ClassVar

from sandbox_backends.survivors import Survivors
from sandbox_backends.tree import Process, children, environ_has, filters, look, reap, send

__all__ = ["MARK", "Family"]

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
        marked = environ_has(process.pid, self._mark)
        if marked is None:
            self._unclear = True
        return bool(marked) or (self.confined == {self} and filters(process.pid) > filters(os.getpid()))

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
                reap(process.pid)
        return running

    def signal(self, number: int, *, sheath: int = 0) -> None:
        """Send a signal to all but the outermost `sheath` generations."""
        depth: dict[int, int] = {}
        for process in self.alive():
            depth[process.pid] = depth.get(process.parent, -1) + 1
            if depth[process.pid] >= sheath:
                send(process, number)

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
                send(process, signal.SIGKILL)
            if loop.time() >= deadline:
                return running
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_S)
        return []

    def kill_now(self) -> None:
        """One round without waiting, for when there is no loop left to wait in."""
        for process in self.alive():
            send(process, signal.SIGKILL)

    def reap_now(self) -> None:
        """Wait, shortly, for what is about to end. This blocks: it is for probes, not for a loop."""
        for _ in range(REAP_TRIES):
            if not self.alive():
                return
            time.sleep(REAP_PAUSE_S)

    def reap_later(self, running: Iterable[Process]) -> Callable[[], None]:
        """Reap the members in `running`, and what they leave behind, as they end; call the result to stop that."""
        survivors = Survivors(self.root, self.alive)
        survivors.add(running)
        return survivors.stop
