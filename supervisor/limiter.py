"""How many model streams are open at once, and when none may be begun: for all threads of a server together.

Providers count an account's streams, not a thread's. When one of them says "not now", it says it to the account: all
threads wait for the same moment, and go on in turns from then, instead of each finding out for itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Any

__all__ = ["LONGEST_PAUSE_S", "Gate", "Holder", "Limiter"]

LONGEST_PAUSE_S = 600.0
"""Whoever asks for more is not waited for: a person is better told at once."""
STEP_S = 0.02
"""After a pause streams begin one by one, this far apart, so that the end of a pause is no burst."""

Holder = tuple[bytes, int]
"""A worker's token and its number for the stream."""


class Gate:
    """One provider's. `limit` of None: no bound, but pauses hold all the same."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.open: set[Holder] = set()
        self.pauses = 0
        """How often somebody was told to wait."""
        self._waiting: OrderedDict[str, deque[tuple[Holder, asyncio.Future[None]]]] = OrderedDict()
        self._resume_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def paused_s(self) -> float:
        """How long no stream may begin."""
        return max(0.0, self._resume_at - self._loop.time())

    @property
    def metered(self) -> bool:
        """Whether a stream has to ask."""
        return self.limit is not None or self._timer is not None or bool(self._waiting)

    async def enter(self, thread: str, holder: Holder) -> None:
        """Wait for a place. Cancelling gives up the wait; threads that wait take turns."""
        if not self._waiting and self._timer is None and self._has_room():
            self.open.add(holder)
            return
        admitted: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(thread, deque()).append((holder, admitted))
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():
                self.leave(holder)
            else:
                self._forget(thread, admitted)
            raise

    def leave(self, holder: Holder) -> None:
        """Give a place back; nothing if there was none."""
        self.open.discard(holder)
        self._admit()

    def pause(self, seconds: float) -> None:
        """No stream begins for so long; the longest of what is asked counts."""
        if 0 < seconds <= LONGEST_PAUSE_S:
            self.pauses += 1
            self._resume_at = max(self._resume_at, self._loop.time() + seconds)
            self._again_at(self._resume_at)

    def _has_room(self) -> bool:
        return self.limit is None or len(self.open) < self.limit

    def _forget(self, thread: str, admitted: asyncio.Future[None]) -> None:
        queue = self._waiting.get(thread)
        if queue is not None:
            kept = deque(entry for entry in queue if entry[1] is not admitted)
            if kept:
                self._waiting[thread] = kept
            else:
                del self._waiting[thread]

    def _admit(self) -> None:
        """Let the next in, of the thread whose turn it is."""
        while self._waiting and self._timer is None and self._has_room():
            thread, queue = next(iter(self._waiting.items()))
            holder, admitted = queue.popleft()
            if queue:
                self._waiting.move_to_end(thread)
            else:
                del self._waiting[thread]
            if admitted.done():
                continue
            self.open.add(holder)
            admitted.set_result(None)
            if self._resume_at and self._waiting:
                self._again_at(self._loop.time() + STEP_S)

    def _again_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if self.paused_s > 0:
            self._again_at(self._resume_at)
            return
        self._admit()
        if not self._waiting:
            self._resume_at = 0.0


class Limiter:
    """The gates of all providers, made when they are first asked for."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}

    def gate(self, provider: str, limit: int | None) -> Gate:
        gate = self._gates.get(provider)
        if gate is None:
            gate = self._gates[provider] = Gate(limit)
        gate.limit = limit  # the configuration may have changed
        return gate

    def forget(self, worker: bytes) -> None:
        """A worker's death gives its places back."""
        for gate in self._gates.values():
            for holder in [holder for holder in gate.open if holder[0] == worker]:
                gate.leave(holder)

    @property
    def gates(self) -> list[tuple[str, Gate]]:
        """By provider."""
        return sorted(self._gates.items())

    def state(self) -> list[dict[str, Any]]:
        """For operators."""
        return [
            {
                "provider": name,
                "streams": len(gate.open),
                "limit": gate.limit,
                "waiting": gate.waiting,
                "pausedSeconds": round(gate.paused_s, 3),
            }
            for name, gate in self.gates
        ]
