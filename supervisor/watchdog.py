"""Finds workers that hang: a ping, but only where a turn is active and silent.

Idle workers are never disturbed, so they cost no CPU. A worker that does not answer in time dumps its stack (the
file stays for operators) and is killed; its thread gets a new one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress

from config.settings import Bulkhead
from protocol.link import Frame
from supervisor.hub import Hub
from supervisor.loaded import Incarnation
from supervisor.states import EndKind
from supervisor.supervision import Supervisor

__all__ = ["Watchdog"]

log = logging.getLogger("bulkhead.watchdog")

DUMP_S = 0.1
"""What a worker gets to write its stack: the dump is made in the signal handler, in C."""
LOOKS_PER_SILENCE = 4


class Watchdog:
    def __init__(self, supervisor: Supervisor, hub: Hub, settings: Bulkhead, stacks: str) -> None:
        self._supervisor = supervisor
        self._hub = hub
        self._stacks = stacks
        self._silence_s = settings.hang_silence_ms / 1000
        self._grace_s = settings.hang_grace_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._pings = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self._loop.call_later(self._silence_s / LOOKS_PER_SILENCE, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = time.monotonic()
        for thread in self._supervisor.threads.values():
            incarnation = thread.incarnation
            # An unanswered command counts like a turn: a worker may also hang before it has begun one.
            if incarnation is None or thread.paused or not (thread.busy or thread.pending):
                continue
            if incarnation.ping_sent is not None:
                if now - incarnation.ping_sent > self._grace_s and incarnation.end_kind is None:
                    self._end(incarnation)
            elif now - incarnation.last_heard > self._silence_s:
                self._pings += 1
                incarnation.ping_sent = now
                self._hub.send(incarnation.handle.token, Frame.PING, self._pings)
        self.start()

    def _end(self, incarnation: Incarnation) -> None:
        log.error("worker %d of thread %s hangs", incarnation.handle.pid, incarnation.thread.id)
        self._supervisor.journal.note(
            "hung",
            incarnation.thread.id,
            pid=incarnation.handle.pid,
            silent_ms=round((time.monotonic() - incarnation.last_heard) * 1000),
        )
        incarnation.end_kind = EndKind.HUNG
        incarnation.thread.last_stack = incarnation.handle.pid
        path = os.path.join(self._stacks, str(incarnation.handle.pid))
        with suppress(OSError):
            os.truncate(path, 0)  # what operators asked for earlier would only mislead
        incarnation.handle.signal(signal.SIGUSR1)
        self._loop.call_later(DUMP_S, self._finish, incarnation, path)

    def _finish(self, incarnation: Incarnation, path: str) -> None:
        _say_state(path, incarnation.handle.pid)
        incarnation.handle.signal(signal.SIGKILL)


def _say_state(path: str, pid: int) -> None:
    """Who is stopped or sleeps in the kernel cannot dump its stack; then the kernel's word on it is kept."""
    with suppress(OSError):
        with open(f"/proc/{pid}/status") as file:
            state = next(
                (line.split(maxsplit=1)[1].strip() for line in file if line.startswith("State:")), "?"
            )
        with open(path, "a") as file:
            if file.tell() == 0:
                file.write(f"no stack: the process did not react to a signal; its state is {state}\n")
