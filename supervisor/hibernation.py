"""Idle threads give their processes back: a worker that has nothing to do ends, its thread stays loaded.

The front asks (SLEEP), the worker decides: it knows of background terminals and grants that a successor would not
have. It stores everything, leaves a lease on the thread and ends; the next request takes a parked child, which reads
the rollout. When memory is short the longest idle ones are asked before their time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from config.settings import Bulkhead
from protocol.link import Frame
from supervisor.footprint import private_bytes
from supervisor.hub import Hub
from supervisor.loaded import Incarnation, LoadedThread
from supervisor.pressure import waited_for_memory
from supervisor.states import State

if TYPE_CHECKING:
    from supervisor.supervision import Supervisor

__all__ = ["Hibernation"]

log = logging.getLogger("bulkhead.hibernation")

MAX_LOOK_S = 1.0
LOOKS_PER_TIME = 4
ASK_AGAIN_S = 30.0
"""A worker that stayed awake has its reason, and a background terminal may last for hours."""
MEASURE_S = 5.0
"""Memory is measured so often: each worker costs a millisecond of an executor's thread."""
SHARE_AT_ONCE = 0.25
"""Under pressure so many of the idle go at a time, then it is measured again."""
_MIB = 2**20


class Hibernation:
    def __init__(self, supervisor: Supervisor, hub: Hub, settings: Bulkhead) -> None:
        self._supervisor = supervisor
        self._hub = hub
        self._after_s = settings.hibernate_after_s
        self._budget = settings.memory_budget_mib * _MIB
        self._pressure_pct = settings.memory_pressure_pct
        self._pressure_file = settings.memory_pressure_file
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._measured_at = self._loop.time()
        self._measuring: asyncio.Task[None] | None = None

    def start(self) -> None:
        pause = min(MAX_LOOK_S, self._after_s / LOOKS_PER_TIME) if self._after_s else MAX_LOOK_S
        self._timer = self._loop.call_later(pause, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._measuring is not None:
            self._measuring.cancel()

    def idle(self) -> list[Incarnation]:
        """The workers that have nothing to do as far as the front knows, the longest idle first."""
        found = [
            thread.incarnation
            for thread in self._supervisor.threads.values()
            if thread.incarnation is not None and is_idle(thread)
        ]
        return sorted(found, key=lambda incarnation: incarnation.idle_since)

    def ask(self, incarnation: Incarnation) -> None:
        """Ask a worker to end, unless it was asked a moment ago and nothing has happened since."""
        now, asked = time.monotonic(), incarnation.sleep_asked
        if asked is None or asked < incarnation.idle_since or now - asked > ASK_AGAIN_S:
            incarnation.sleep_asked = now
            self._hub.send(incarnation.handle.token, Frame.SLEEP)

    def _look(self) -> None:
        self.start()
        if self._after_s:
            now = time.monotonic()
            for incarnation in self.idle():
                if now - incarnation.idle_since < self._after_s:
                    break
                self.ask(incarnation)
        due = self._loop.time() - self._measured_at >= MEASURE_S
        if due and (self._measuring is None or self._measuring.done()):
            self._measured_at = self._loop.time()
            self._measuring = self._loop.create_task(self._relieve())

    async def _relieve(self) -> None:
        """Let some of the idle go if memory is short."""
        workers = [t.incarnation for t in self._supervisor.threads.values() if t.incarnation is not None]
        pids = [worker.handle.pid for worker in workers]
        used, pressure = await self._loop.run_in_executor(None, self._measure, pids if self._budget else [])
        over_budget = bool(self._budget) and used > self._budget
        under_pressure = bool(self._pressure_pct) and pressure > self._pressure_pct
        if not over_budget and not under_pressure:
            return
        idle = self.idle()
        if idle:
            log.warning(
                "memory is short (%d MiB, pressure %.0f %%): idle workers end", used // _MIB, pressure
            )
        asked = idle[: max(1, int(len(idle) * SHARE_AT_ONCE))]
        for incarnation in asked:
            self.ask(incarnation)
        if asked:
            self._supervisor.journal.note(
                "memory-short", asked=len(asked), used_mib=used // _MIB, pressure_pct=round(pressure, 1)
            )

    def _measure(self, pids: list[int]) -> tuple[int, float]:
        """Memory of the processes (bytes), and how much of the last 10 s somebody waited for memory (%)."""
        used = sum(private_bytes(pid) or 0 for pid in pids)
        return used, waited_for_memory(self._pressure_file) if self._pressure_pct else 0.0


def is_idle(thread: LoadedThread) -> bool:
    """Whether nothing is under way: no turn, no command without an answer, no open question."""
    return (
        thread.state is State.IDLE
        and thread.loaded
        and not thread.busy
        and not thread.pending
        and not thread.asked
        and not thread.paused
    )
