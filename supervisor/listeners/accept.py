"""A listening socket, and a task for each client until it is known what it speaks."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

__all__ = ["Acceptor"]

log = logging.getLogger("bulkhead.listeners")

BACKLOG = 128
PAUSE_S = 0.1
"""After an accept that failed for want of descriptors: at once it would fail again."""


class Acceptor:
    """Calls `welcome` with each new socket, which is non-blocking; what it returns False for is closed."""

    def __init__(self, listening: socket.socket, welcome: Callable[[socket.socket], Awaitable[bool]]) -> None:
        self._listening = listening
        self._welcome = welcome
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._loop.add_reader(listening, self._accept)

    def _accept(self) -> None:
        try:
            peer, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            log.warning("a client could not be accepted: %s", error.strerror)
            self._loop.remove_reader(self._listening)
            self._loop.call_later(PAUSE_S, self._again)
            return
        peer.setblocking(False)
        task = self._loop.create_task(self._receive(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _again(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listening, self._accept)

    async def _receive(self, peer: socket.socket) -> None:
        kept = False
        try:
            kept = await self._welcome(peer)
        except OSError as error:
            log.info("a client went away during its handshake: %s", error)
        finally:
            if not kept:
                peer.close()

    def close(self) -> None:
        self._closed = True
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._tasks:
            task.cancel()
