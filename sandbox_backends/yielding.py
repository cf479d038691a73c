"""Having a command that takes most of the machine give way to everybody else.

Kernels with automatic groups share the processors between sessions, not processes, and a command has a session of
its own: beside a few of them the thread next door waits for its turn again and again, whatever the niceness. So it is
looked after now and then what a command takes. One that takes more than a quarter of all processors has its sessions put
behind all others; they still get everything that nobody else wants. When it takes less, since others want it, it is on a par with
them again.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from sandbox_backends.family import Family
from sandbox_backends.tree import Process

__all__ = ["Yielding"]

FIRST_LOOK_S, LOOK_S = 0.1, 0.5
"""Most commands are over before the first."""
LOOK_SHARE = 0.02
"""Of our time: a family of thousands takes long to look at."""
BEHIND, ON_A_PAR = b"19", b"0"
"""Of a session, as niceness is of a process: a weight of 15 and of 1024."""
SHARE = 0.25
"""Of all processors together. Less than that is nobody's trouble, and what a command keeps beside those who want more."""
_PROCESSORS = os.cpu_count() or 1
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Yielding:
    """Looks after one command until `stop`."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._loop = asyncio.get_running_loop()
        self._limit = SHARE * _PROCESSORS
        self._used = 0.0
        self._at = self._loop.time()
        self._behind = False
        self._sessions: dict[int, bool] = {}
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(FIRST_LOOK_S, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        began = self._loop.time()
        members = self._family.scan()
        used = sum(process.ticks for process in members) * _TICK_S
        # What ends takes its share out of the sum; then it is this round's use that is not known.
        taken = (used - self._used) / (began - self._at)
        self._used, self._at = used, began
        if taken >= 0:
            self._behind = taken > self._limit
        self._place_sessions(members)
        took = self._loop.time() - began
        self._timer = self._loop.call_later(max(LOOK_S, took / LOOK_SHARE), self._look)

    def _place_sessions(self, members: list[Process]) -> None:
        """The busiest first: as an ordinary user the kernel takes one such word in a tenth of a second."""
        spent: dict[int, int] = {}
        of_session: dict[int, int] = {}
        for process in members:
            spent[process.session] = spent.get(process.session, 0) + process.ticks
            of_session[process.session] = process.pid
        self._sessions = {number: self._sessions.get(number, False) for number in spent}
        for number in sorted(spent, key=lambda number: -spent[number]):
            if self._sessions[number] != self._behind:
                if not self._place(of_session[number]):
                    return
                self._sessions[number] = self._behind

    def _place(self, pid: int) -> bool:
        """Whether the session of this process is now where it is to be."""
        with suppress(OSError), open(f"/proc/{pid}/autogroup", "wb", buffering=0) as file:
            file.write(BEHIND if self._behind else ON_A_PAR)
            return True
        return False
