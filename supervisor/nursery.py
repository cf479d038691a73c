"""Parked workers: forked, connected and waiting, so that a thread gets its process by one message."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Callable
from functools import partial

from protocol.link import Frame
from supervisor.hub import Hub
from supervisor.launcher import Exit, LauncherLost, LaunchError
from supervisor.zygote import ZygoteLauncher
from supervisor.zygote_handle import ZygoteHandle

__all__ = ["Nursery"]

log = logging.getLogger("bulkhead.nursery")

FAILURE_LIMIT = 5
"""Births in a row that may fail before the threads that wait for one are told so."""
FAILURE_PAUSE_S = 0.5
RETRY_PAUSE_S = 0.02
BATCH = 32
"""Forks asked for in one message; each takes about 3 ms, and the first should serve soon."""

Adoption = Callable[[ZygoteHandle], None]
Refusal = Callable[[LaunchError], None]


class _Parked:
    """A worker that nobody has adopted yet, as the hub's peer."""

    def __init__(self, handle: ZygoteHandle, nursery: Nursery) -> None:
        self.handle = handle
        self._nursery = nursery

    def on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == Frame.HELLO:
            self._nursery.hello(self.handle)


class Nursery:
    def __init__(self, launcher: ZygoteLauncher, hub: Hub, size: int) -> None:
        self._launcher = launcher
        self._hub = hub
        self._size = size
        self._parked: deque[ZygoteHandle] = deque()
        self._waiting: deque[tuple[Adoption, Refusal]] = deque()
        self._expected: set[ZygoteHandle] = set()
        self._asked = 0
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self._failing: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self) -> None:
        self._refill()

    @property
    def parked(self) -> list[ZygoteHandle]:
        return list(self._parked)

    def adopt(self, adoption: Adoption, refusal: Refusal) -> None:
        """Give the next free worker to `adoption`, at once if one is parked."""
        if self._parked:
            adoption(self._parked.popleft())
        else:
            self._waiting.append((adoption, refusal))
        self._refill()

    def hello(self, handle: ZygoteHandle) -> None:
        self._expected.discard(handle)
        self._failures = 0
        if self._waiting:
            adoption, _ = self._waiting.popleft()
            adoption(handle)
        else:
            self._parked.append(handle)

    def renew(self) -> None:
        """The zygote is another one: its predecessor's that wait, or are about to, end, and others take their place."""
        old = {handle for handle in (*self._parked, *self._expected) if handle.parent.gone}
        # Before their ends are noticed: no thread is to get one of them.
        self._parked = deque(handle for handle in self._parked if handle not in old)
        self._expected -= old
        for handle in old:
            self._hub.detach(handle.token)
            handle.signal(signal.SIGKILL)
        self._refill()

    def _missing(self) -> int:
        return self._size + len(self._waiting) - len(self._parked) - len(self._expected) - self._asked

    def _refill(self) -> None:
        if self._missing() > 0 and not self._closed and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._give_birth())

    async def _give_birth(self) -> None:
        while (count := min(self._missing(), BATCH)) > 0 and not self._closed:
            self._asked += count
            failure: LaunchError | None = None
            try:
                handles = await self._launcher.launch_many(count)
            except LaunchError as error:
                failure = error
            finally:
                self._asked -= count
            if failure is not None:
                await self._failed(failure)
                continue
            for handle in handles:
                self._expected.add(handle)
                self._hub.attach(handle.token, _Parked(handle, self))
                handle.exited.add_done_callback(partial(self._gone, handle))
            # The hub compares the sender of a HELLO with the pid, so wait until the pids are known.
            lost: LauncherLost | None = None
            for handle in handles:
                try:
                    await handle.born
                except LauncherLost as error:
                    lost = error
                except LaunchError:
                    pass  # counted where its end is noticed
            if lost is not None:
                await self._failed(lost)

    def _gone(self, handle: ZygoteHandle, exited: asyncio.Future[Exit]) -> None:
        """A worker ended; of interest here only if nobody has adopted it."""
        parked = handle in self._parked
        if not parked and handle not in self._expected:
            return
        self._hub.detach(handle.token)
        if parked:
            self._parked.remove(handle)
        else:
            self._expected.discard(handle)
        if self._closed:
            return
        if parked:
            self._refill()
            return
        cause = handle.born.exception() if handle.born.done() else None
        if isinstance(cause, LauncherLost):
            return  # many at once, and one failure: told to who waits for the births
        error = (
            cause
            if isinstance(cause, LaunchError)
            else LaunchError(f"workers end at start-up ({exited.result()})")
        )
        task = asyncio.ensure_future(self._failed(error, at_once=False))
        self._failing.add(task)
        task.add_done_callback(self._failing.discard)

    async def _failed(self, error: LaunchError, *, at_once: bool | None = None) -> None:
        """Births came to nothing: try again, or tell those who wait.

        `at_once`: without another try; by default so unless a new launcher is to be had.
        """
        self._failures += 1
        if at_once is None:
            at_once = not isinstance(error, LauncherLost)
        if at_once or self._failures >= FAILURE_LIMIT:
            log.error("no worker can be started: %s", error)
            self._failures = 0
            waiting, self._waiting = self._waiting, deque()
            for _, refusal in waiting:
                refusal(error)
            await asyncio.sleep(FAILURE_PAUSE_S)
        else:
            await asyncio.sleep(RETRY_PAUSE_S)
        self._refill()

    def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        for task in self._failing:
            task.cancel()
