"""Ends on purpose: a worker is killed, restarted or stopped because somebody wants it, and that counts as no failure."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from protocol.link import Frame, StopOrder
from supervisor import freezing
from supervisor.hub import Hub
from supervisor.loaded import Incarnation, LoadedThread
from supervisor.states import EndKind, State

__all__ = ["Endings"]

log = logging.getLogger("bulkhead.endings")

LOOK_S = 0.005
STOP_GRACE_S = 5.0
"""Within this a worker that was asked to stop must have stored everything; then it is killed."""


class Endings:
    """`employ` gives a thread its next worker, `remove` makes it one that is not loaded."""

    def __init__(
        self, hub: Hub, *, employ: Callable[[LoadedThread], None], remove: Callable[[LoadedThread], None]
    ) -> None:
        self._hub = hub
        self._employ = employ
        self._remove = remove
        self._loop = asyncio.get_running_loop()

    def kill(self, thread: LoadedThread) -> bool:
        """An operator's SIGKILL; the thread gets a new worker. Whether there was one to kill."""
        return self.end(thread, EndKind.KILLED)

    def end(self, thread: LoadedThread, kind: EndKind) -> bool:
        incarnation = thread.incarnation
        if incarnation is None:
            return False
        incarnation.end_kind = kind
        incarnation.handle.signal(signal.SIGKILL)
        return True

    async def restart(self, thread: LoadedThread) -> None:
        """End the worker in order (its turn is interrupted) and give the thread a new one; releases a quarantine."""
        thread.deaths.clear()
        if thread.incarnation is not None:
            await self._stop(thread.incarnation, StopOrder())
        elif thread.state in (State.QUARANTINED, State.HIBERNATED) or thread.next_start is not None:
            self._employ(thread)

    async def unload(self, thread: LoadedThread, *, materialize: bool = False) -> bool:
        """Stop the worker for good; the thread is not loaded afterwards. False: somebody else was at it already."""
        if thread.gone is not None:
            await asyncio.shield(thread.gone)
            return False
        thread.gone = self._loop.create_future()
        try:
            order = StopOrder(materialize=materialize, last=True, recovered=True)
            await self._stop_last(thread, order)
            if thread.state is State.HIBERNATED and not _is_gone(thread):
                # It was falling asleep when it was told.
                await self._stop_last(thread, order)
        finally:
            self._remove(thread)
        return True

    async def _stop_last(self, thread: LoadedThread, order: StopOrder) -> None:
        """Stop the worker, which is woken for that: awake it can store what is to be stored, and give its lease back."""
        thread.unloading = False
        if thread.state is State.HIBERNATED:
            self._employ(thread)
        await self._while(lambda: thread.state is State.STARTING)
        thread.unloading = True
        if thread.incarnation is not None:
            await self._stop(thread.incarnation, order)
        # Until it is buried.
        await self._while(
            lambda: thread.state is State.DEAD and thread.next_start is None and not _is_gone(thread)
        )

    async def _while(self, condition: Callable[[], bool]) -> None:
        """Wait for what takes milliseconds, and not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                while condition():  # noqa: ASYNC110  (milliseconds, and rare)
                    await asyncio.sleep(LOOK_S)

    async def stop_all(self, threads: Iterable[LoadedThread]) -> None:
        incarnations = [thread.incarnation for thread in threads if thread.incarnation is not None]
        order = StopOrder(last=True)
        await asyncio.gather(*(self._stop(incarnation, order) for incarnation in incarnations))

    async def _stop(self, incarnation: Incarnation, order: StopOrder) -> None:
        incarnation.end_kind = EndKind.STOPPED
        with suppress(RuntimeError):
            incarnation.thread.move(State.STOPPING)
        await freezing.go_on(incarnation)
        payload = msgspec.json.encode(order)
        self._hub.send(incarnation.handle.token, Frame.STOP, int(STOP_GRACE_S * 1000), payload)
        try:
            await asyncio.wait_for(asyncio.shield(incarnation.handle.exited), STOP_GRACE_S)
        except TimeoutError:
            log.warning("worker %d did not stop in time and is killed", incarnation.handle.pid)
            incarnation.handle.signal(signal.SIGKILL)
            await asyncio.shield(incarnation.handle.exited)


def _is_gone(thread: LoadedThread) -> bool:
    return thread.gone is not None and thread.gone.done()
