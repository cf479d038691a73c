"""Loaded threads that nobody listens to and nothing happens in are unloaded after a while."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from protocol.notifications import ThreadReference, ThreadStatusChanged
from protocol.threads import NotLoadedStatus
from supervisor.loaded import LoadedThread
from supervisor.states import State

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["IdleThreads"]

LOOKS_PER_LIMIT = 4
LONGEST_PAUSE_S = 60.0


class IdleThreads:
    """`limit_s`: how long a thread is left alone before; 0: none is ever unloaded."""

    def __init__(self, front: Front, limit_s: float) -> None:
        self._front = front
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._since: dict[LoadedThread, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._limit_s > 0:
            pause = min(self._limit_s / LOOKS_PER_LIMIT, LONGEST_PAUSE_S)
            self._timer = self._loop.call_later(pause, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = time.monotonic()
        idle = [thread for thread in self._front.supervisor.threads.values() if _idle(thread)]
        self._since = {thread: self._since.get(thread, now) for thread in idle}
        for thread, since in self._since.items():
            if now - since >= self._limit_s and not self._front.lanes.busy(thread.id):
                self._unload(thread)
        self.start()

    def _unload(self, thread: LoadedThread) -> None:
        front = self._front

        async def work() -> None:
            if not await front.supervisor.unload(thread):
                return
            closed = ThreadStatusChanged(thread_id=thread.id, status=NotLoadedStatus())
            front.tell_all("thread/status/changed", closed, thread.id)
            front.tell_all("thread/closed", ThreadReference(thread_id=thread.id), thread.id)

        front.lanes.run(thread.id, work)


def _idle(thread: LoadedThread) -> bool:
    return (
        thread.loaded
        and thread.state in (State.IDLE, State.HIBERNATED)
        and not (thread.subscribers or thread.pending or thread.unloading)
    )
