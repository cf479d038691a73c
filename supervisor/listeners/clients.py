"""The clients of a listener, from their first byte to their last."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

from supervisor.channel import Channel
from supervisor.connection import Connection

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["Clients"]

log = logging.getLogger("bulkhead.listeners")

MAX_CLIENTS = 512
"""Of one listener: each costs descriptors and buffers, and nobody has so many editors."""


class Clients:
    """`kind` is part of their names, e.g. `unix-3`."""

    def __init__(self, front: Front, kind: str) -> None:
        self._front = front
        self._kind = kind
        self._serial = itertools.count(1)
        self._connections: set[Connection] = set()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        return len(self._connections) >= MAX_CLIENTS

    def admit(self, channel: Channel) -> None:
        connection = self._front.attach(f"{self._kind}-{next(self._serial)}", channel, self._gone)
        self._connections.add(connection)
        log.info("client %s came", connection.name)

    def _gone(self, connection: Connection) -> None:
        task = asyncio.ensure_future(self._leave(connection))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, connection: Connection) -> None:
        """A client may write its requests, close its end, and read the answers then."""
        await self._front.settle(connection)
        await connection.outbox.flush()
        self._front.detach(connection)
        self._connections.discard(connection)
        connection.close()
        log.info("client %s left", connection.name)

    def close(self) -> None:
        """At the server's end; what they were owed has been delivered."""
        for task in self._leaving:
            task.cancel()
        for connection in tuple(self._connections):
            self._front.detach(connection)
            connection.close()
        self._connections.clear()
