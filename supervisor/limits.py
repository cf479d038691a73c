"""What one thread may use, held by looking: whoever is over a limit is ended, alone, with the limit's name.

The kernel holds what it can: memory and processes in a control group where one is to be had (`compartments.py`), else
each process by rlimits (`workers/bounds.py`). What neither can, and what a thread's processes use together without a
group, is looked at twice a second. Threads without limits and workers without a turn cost nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec

from config.settings import Limits, settings_of
from supervisor.configuration import Configuration
from supervisor.footprint import Footprint, footprint
from supervisor.hibernation import Hibernation, is_idle
from supervisor.loaded import Incarnation
from supervisor.states import EndKind
from supervisor.thread_logs import ThreadLogs

if TYPE_CHECKING:
    from supervisor.supervision import Supervisor

__all__ = ["LimitWatch", "limits_for"]

log = logging.getLogger("bulkhead.limits")

LOOK_S = 0.5
BOUND_LOOKS = 60
"""Every so many looks all logs together are brought under their cap."""
_MIB = 2**20


class _Wish(msgspec.Struct):
    config: dict[str, Any] | None = None


def limits_for(configuration: Configuration, params: msgspec.Raw | None) -> Limits:
    """The limits of a thread whose `thread/start` or `thread/resume` has these params.

    Raises:
        ConfigError: the request's `config` does not fit.
    """
    try:
        wish = msgspec.json.decode(params or b"{}", type=_Wish).config
    except msgspec.MsgspecError:
        wish = None  # the worker words what is wrong with the params
    if not wish or not any(key.partition(".")[0] == "bulkhead" for key in wish):
        return configuration.settings.bulkhead.limits
    return settings_of(configuration.document.with_request(wish)).bulkhead.limits


class LimitWatch:
    def __init__(self, supervisor: Supervisor, hibernation: Hibernation, logs: ThreadLogs) -> None:
        self._supervisor = supervisor
        self._hibernation = hibernation
        self._logs = logs
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._cpu_before: dict[str, float] = {}
        """Turn -> processor time of its worker when the turn was first seen."""
        self.log_bytes = 0

    def start(self) -> None:
        self._task = self._loop.create_task(self._watch())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_S)
            looks += 1
            self._supervisor.burials.oom.look()
            try:
                await self._look()
                if looks % BOUND_LOOKS == 0:
                    self.log_bytes = await self._loop.run_in_executor(None, self._logs.bound)
            except Exception:
                log.exception("the limits could not be looked at")

    async def _look(self) -> None:
        awake = [t.incarnation for t in self._supervisor.threads.values() if t.incarnation is not None]
        if not awake:
            return
        watched = [one for one in awake if _counted(one)]
        found = await self._loop.run_in_executor(None, self._measure, awake, watched)
        sizes, prints = found
        for incarnation in awake:
            thread = incarnation.thread
            if thread.incarnation is not incarnation or thread.paused or incarnation.end_kind is not None:
                continue
            over = self._over(incarnation, prints.get(incarnation), sizes.get(thread.id, 0))
            if over:
                incarnation.end_detail = over
                self._supervisor.endings.end(thread, EndKind.LIMIT)
        running = {one.thread.turn.id for one in awake if one.thread.turn is not None}
        self._cpu_before = {turn: cpu for turn, cpu in self._cpu_before.items() if turn in running}

    def _measure(
        self, awake: list[Incarnation], watched: list[Incarnation]
    ) -> tuple[dict[str, int], dict[Incarnation, Footprint]]:
        sizes = self._logs.rotate([one.thread.id for one in awake])
        prints = {one: print_ for one in watched if (print_ := _used(one)) is not None}
        return sizes, prints

    def _over(self, incarnation: Incarnation, used: Footprint | None, log_size: int) -> str:
        """The limit that the thread is over, in words; empty if none."""
        thread = incarnation.thread
        limits = thread.limits
        if limits.log_mib and log_size > limits.log_mib * _MIB:
            return f"log_mib = {limits.log_mib}, printed {log_size // _MIB} MiB at once"
        if thread.turn is not None and limits.turn_s:
            lasted = time.monotonic() - thread.turn_began  # a clock that is set must end nobody's turn
            if lasted > limits.turn_s:
                return f"turn_s = {limits.turn_s:g}, the turn has lasted {lasted:.1f} s"
        held = incarnation.compartment.over() if incarnation.compartment is not None else ""
        if used is None or held:
            return held
        if limits.memory_mib and used.memory > limits.memory_mib * _MIB:
            return f"memory_mib = {limits.memory_mib}, used {used.memory // _MIB} MiB"
        if limits.processes and used.processes > limits.processes:
            return f"processes = {limits.processes}, had {used.processes}"
        if thread.turn is not None and limits.turn_cpu_s:
            spent = used.cpu - self._cpu_before.setdefault(thread.turn.id, used.cpu)
            if spent > limits.turn_cpu_s:
                return f"turn_cpu_s = {limits.turn_cpu_s:g}, used {spent:.1f} s"
        if limits.recycle_mib and used.memory > limits.recycle_mib * _MIB and is_idle(thread):
            self._hibernation.ask(incarnation)
        return ""


def _used(incarnation: Incarnation) -> Footprint | None:
    compartment = incarnation.compartment
    return compartment.used() if compartment is not None else footprint(incarnation.handle.pid)


def _counted(incarnation: Incarnation) -> bool:
    limits = incarnation.thread.limits
    return bool(limits.memory_mib or limits.processes or limits.turn_cpu_s or limits.recycle_mib)
