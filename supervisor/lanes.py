"""Order by key: what touches one thread happens one after the other, what touches different ones does not wait."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Lanes"]

log = logging.getLogger("bulkhead.lanes")

SETTLE_S = 1.0
"""What they wait for has been refused before; this is for their last words."""
Work = Callable[[], Coroutine[Any, Any, None]]


class Lanes:
    """FIFO queues of work, one a key; a lane exists only while it has work."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Work]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __bool__(self) -> bool:
        """Whether any lane has work."""
        return bool(self._lanes)

    async def settle(self) -> None:
        """Wait for the work under way, not for ever."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=SETTLE_S)

    def busy(self, key: str) -> bool:
        return key in self._lanes

    def run(self, key: str, work: Work) -> None:
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append(work)
            return
        self._lanes[key] = deque([work])
        task = asyncio.ensure_future(self._drive(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drive(self, key: str) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                try:
                    await lane[0]()
                except Exception:
                    # A bug of ours in one request must not take those behind it along.
                    log.exception("work for %s failed", key)
                lane.popleft()
        finally:
            del self._lanes[key]
