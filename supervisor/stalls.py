"""Clients that stay away: who has taken nothing for too long, while something waits for it, is let go.

Until then nothing is lost and nobody's memory grows, but its threads stand still for the others who attend them. The
client on stdio is never let go: it owns the server, whose end this would be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from supervisor.connection import Connection
from supervisor.journal import Journal

__all__ = ["OWNER", "Stalls"]

log = logging.getLogger("bulkhead.stalls")

OWNER = "stdio"
MAX_LOOK_S = 5.0
LOOKS_PER_TIME = 4


class Stalls:
    """`connections` is looked at again each time; `limit_s` 0: nobody is let go."""

    def __init__(self, connections: Iterable[Connection], limit_s: float, journal: Journal) -> None:
        self._connections = connections
        self._limit_s = limit_s
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._limit_s:
            pause = min(MAX_LOOK_S, self._limit_s / LOOKS_PER_TIME)
            self._timer = self._loop.call_later(pause, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        for connection in tuple(self._connections):
            stalled = connection.outbox.stalled_s
            if stalled <= self._limit_s or connection.name == OWNER:
                continue
            waiting = connection.outbox.queued
            log.warning("client %s is let go: it has read nothing for %.0f s", connection.name, stalled)
            self._journal.note(
                "client-stalled", client=connection.name, stalled_s=round(stalled, 1), bytes=waiting
            )
            connection.outbox.let_go()
        self.start()
