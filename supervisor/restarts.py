"""What comes after the end of a worker: a restart now or later, or quarantine. And how many restarts at one time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable

from config.settings import Bulkhead
from supervisor.loaded import LoadedThread
from supervisor.states import End

__all__ = ["RestartPolicy", "RestartRation"]

BURST = 8
"""Restarts that need not wait: as many as a few crashes at once are."""
PACE_S = 0.005
"""Then one each: a fork with its recovery takes about as long on one core, so live turns keep the other."""


class RestartPolicy:
    def __init__(self, settings: Bulkhead) -> None:
        self._settings = settings

    def delay(self, thread: LoadedThread, end: End) -> float | None:
        """Seconds until the next worker; None: no more, too many have died in the window."""
        if not end.counts:
            return 0.0
        settings = self._settings
        now = time.monotonic()
        deaths = thread.deaths
        deaths.append(now)
        while now - deaths[0] > settings.restart_window_s:
            deaths.popleft()
        if len(deaths) > settings.restart_limit:
            return None
        if len(deaths) == 1:
            return 0.0
        doubled: int = settings.restart_backoff_ms * 2 ** (len(deaths) - 2)
        return min(settings.restart_backoff_cap_ms, doubled) / 1000 * (0.5 + random.random())


class RestartRation:
    """Lets restarts through at a pace, so that a mass crash does not take the machine from the turns that live."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Callable[[], None]] = deque()
        self._tokens = BURST
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def run(self, restart: Callable[[], None]) -> None:
        """Call `restart` now, or when it is its turn."""
        if self._tokens and not self._waiting:
            self._tokens -= 1
            restart()
        else:
            self._waiting.append(restart)
        if self._timer is None:
            self._timer = self._loop.call_later(PACE_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            if self._waiting:
                self._waiting.popleft()()
            else:
                self._tokens += 1
        finally:
            # A start that fails by a bug of ours keeps no other waiting.
            if self._waiting or self._tokens < BURST:
                self._timer = self._loop.call_later(PACE_S, self._tick)

    def close(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
