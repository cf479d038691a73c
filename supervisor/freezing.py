"""Stopping a worker and its commands for a while, and letting them go on: SIGSTOP and SIGCONT, parents first.

To find them /proc is read, which blocks for milliseconds: not in the loop. One of the two at a time for a worker: else it
could be left standing although everybody takes it for running.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

from sandbox_backends.tree import children, look
from supervisor.loaded import Incarnation

__all__ = ["go_on", "pause"]

LOOK_S = 0.001
STILL_S = 1.0
"""Nobody takes so long unless he sleeps in the kernel, and that nobody can wait for."""
_STOPPED = "Tt"


async def pause(incarnation: Incarnation) -> int | None:
    """How many processes stand still now; None: it is about to end, and needs to be awake for that."""
    async with incarnation.freezing:
        if incarnation.end_kind is not None:
            return None
        incarnation.paused = True
        return await asyncio.get_running_loop().run_in_executor(None, _freeze, incarnation.handle.pid)


async def go_on(incarnation: Incarnation) -> int | None:
    """How many processes go on; None: it was not paused."""
    if not incarnation.paused:
        return None
    async with incarnation.freezing:
        if not incarnation.paused:
            return None
        running = await asyncio.get_running_loop().run_in_executor(None, _thaw, incarnation.handle.pid)
        # Its silence was ours to answer for.
        incarnation.last_heard = time.monotonic()
        incarnation.ping_sent = None
        incarnation.paused = False
        return running


def _freeze(pid: int) -> int:
    """How many processes were stopped. Looks again until nothing new appears: what is stopped may have forked before."""
    seen: set[int] = set()
    deadline = time.monotonic() + STILL_S
    while fresh := [one for one in _family(pid) if one not in seen]:
        for one in fresh:
            seen.add(one)
            _send(one, signal.SIGSTOP)
        # Until it stands, each may still do what it is at: fork, say.
        while time.monotonic() < deadline and any(map(_moves, fresh)):
            time.sleep(LOOK_S)
    return len(seen)


def _thaw(pid: int) -> int:
    family = _family(pid)
    for one in reversed(family):
        _send(one, signal.SIGCONT)
    return len(family)


def _moves(pid: int) -> bool:
    process = look(pid)
    return process is not None and process.alive and process.state not in _STOPPED


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        found += [child for child in children(one) if child not in found]
    return found


def _send(pid: int, number: int) -> None:
    """To the process that is there now: between looking and sending its number cannot have become another's."""
    with suppress(OSError):
        fd = os.pidfd_open(pid)
        try:
            if look(pid) is not None:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
