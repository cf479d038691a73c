"""What becomes of skills while a server runs: all clients are told, and all threads look again before their next turn.

The folders are watched by a host worker that belongs to no client. It is started when the first thread has a folder that
can hold skills; a server whose threads have none pays nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from protocol.base import Wire
from protocol.link import WATCH_SKILLS, Command, Frame
from protocol.rpc import RpcError
from supervisor.outbox import Done

if TYPE_CHECKING:
    from supervisor.connection import Connection
    from supervisor.hosts import Hosts
    from supervisor.hub import Hub
    from supervisor.loaded import Facts
    from supervisor.supervision import Supervisor

__all__ = ["SkillWatch"]

log = logging.getLogger("bulkhead.skills")

AGAIN_S = 5.0
"""A watcher that has died has its successor after this."""


class SkillWatch:
    """In the place of a client for its host worker. `connections` are the real ones."""

    def __init__(self, hosts: Hosts, hub: Hub, supervisor: Supervisor, connections: set[Connection]) -> None:
        self._hosts = hosts
        self._hub = hub
        self._supervisor = supervisor
        self._connections = connections
        self._roots: dict[str, None] = {}

    def heed(self, facts: Facts) -> None:
        """A thread has skills."""
        new = [root for root in facts.skill_roots if root not in self._roots]
        if new:
            self._roots.update(dict.fromkeys(new))
            self._ask(new, facts.skills_read_at)

    def _ask(self, roots: list[str], read_at: float) -> None:
        params = msgspec.Raw(msgspec.json.encode({"roots": roots, "readAt": read_at}))
        try:
            self._hosts.ask(Command(id=msgspec.Raw(b"0"), method=WATCH_SKILLS, params=params), self)
        except RpcError as error:
            log.info("skills are not watched: %s", error)

    # --- as the client of the host worker -----------------------------------------------------------------------

    @property
    def outbox(self) -> SkillWatch:
        return self

    def push(self, lane: str, line: bytes, done: Done | None = None, owed: int = 0) -> None:
        """Its answers: there is nothing to say."""
        if done is not None:
            done(owed)

    def pass_on(self, lane: str, lines: bytes, done: Done | None = None, owed: int = 0) -> None:
        for connection in self._connections:
            if connection.initialized:
                connection.pass_on(lane, lines)
        for thread in self._supervisor.threads.values():
            if thread.incarnation is not None and thread.facts.skill_roots:
                self._hub.send(thread.incarnation.handle.token, Frame.SKILLS)
        if done is not None:
            done(owed)

    def notify(self, method: str, params: Wire, lane: str = "") -> None:
        """It has died; whatever changes until there is another one is told by that."""
        asyncio.get_running_loop().call_later(AGAIN_S, self._ask, list(self._roots), time.time())
