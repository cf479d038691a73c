"""`fuzzyFileSearch`: single searches, and sessions that list the files once and answer each change of the query."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from protocol import file_search as wire
from protocol.base import Wire
from protocol.link import Record
from protocol.rpc import INTERNAL_ERROR, RpcError, notification_line
from workers.host.listing import Listing
from workers.host.listing_cache import ListingCache
from workers.host.ranking import rank
from workers.host.request import HostRequest
from workers.link import Link

__all__ = ["Searches"]

SESSION_LIMIT = 64
"""Of one connection: each holds its listing in memory."""


class _Session:
    """Lists once; then tells what fits the newest query, and skips those that came before it."""

    def __init__(
        self, identity: str, roots: list[str], request: HostRequest, link: Link, cache: ListingCache
    ) -> None:
        self.cancelled = threading.Event()
        self._cache = cache
        self._identity = identity
        self._request = request
        self._link = link
        self._query = ""
        self._changed = asyncio.Event()
        self._changed.set()
        self._task = asyncio.get_running_loop().create_task(self._run(roots))

    def update(self, query: str) -> None:
        self._query = query
        self._changed.set()

    def stop(self) -> None:
        self.cancelled.set()
        self._task.cancel()

    async def _run(self, roots: list[str]) -> None:
        listing, _ = await self._request.blocking(partial(self._cache.get, tuple(roots), self.cancelled))
        while True:
            await self._changed.wait()
            await self._link.ready()
            self._changed.clear()
            query = self._query
            found = await self._request.blocking(partial(rank, listing, query))
            if self._changed.is_set():
                continue
            self._tell(
                "fuzzyFileSearch/sessionUpdated",
                wire.FuzzyFileSearchSessionUpdatedNotification(
                    session_id=self._identity, query=query, files=found
                ),
            )
            self._tell(
                "fuzzyFileSearch/sessionCompleted",
                wire.FuzzyFileSearchSessionCompletedNotification(session_id=self._identity),
            )

    def _tell(self, method: str, params: Wire) -> None:
        self._link.say(Record.EVENTS, 0, notification_line(method, params))


class Searches:
    """The searches of one connection."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._cache = ListingCache()
        self._keeping: set[asyncio.Task[None]] = set()
        self._sessions: dict[str, _Session] = {}
        self._tokens: dict[str, threading.Event] = {}

    async def search(self, request: HostRequest) -> wire.FuzzyFileSearchResponse:
        params = request.params(wire.FuzzyFileSearchParams)
        if not params.query:
            return wire.FuzzyFileSearchResponse(files=[])
        cancelled = threading.Event()
        token = params.cancellation_token
        if token is not None:
            earlier = self._tokens.get(token)
            if earlier is not None:
                earlier.set()
            self._tokens[token] = cancelled
        roots = tuple(params.roots)
        try:
            search = partial(self._search, roots, params.query, cancelled)
            found, listing, began_ns = await request.blocking(search)
        finally:
            if token is not None and self._tokens.get(token) is cancelled:
                del self._tokens[token]
        if began_ns and not cancelled.is_set():
            # After the answer: the next one is quicker for it, this one would not be.
            keep = request.blocking(partial(self._cache.keep, roots, listing, began_ns))
            task = asyncio.get_running_loop().create_task(keep)
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)
        return wire.FuzzyFileSearchResponse(files=found)

    def _search(
        self, roots: tuple[str, ...], query: str, cancelled: threading.Event
    ) -> tuple[list[wire.FuzzyFileSearchResult], Listing, int]:
        listing, began_ns = self._cache.get(roots, cancelled)
        return ([] if cancelled.is_set() else rank(listing, query)), listing, began_ns

    async def start(self, request: HostRequest) -> wire.FuzzyFileSearchSessionStartResponse:
        params = request.params(wire.FuzzyFileSearchSessionStartParams)
        identity = params.session_id
        if not identity:
            raise RpcError("sessionId must not be empty")
        if not params.roots:
            raise RpcError(
                "failed to start fuzzy file search session: at least one search directory is required",
                INTERNAL_ERROR,
            )
        earlier = self._sessions.pop(identity, None)
        if earlier is not None:
            earlier.stop()
        if len(self._sessions) >= SESSION_LIMIT:
            raise RpcError(f"a connection has at most {SESSION_LIMIT} search sessions")
        self._sessions[identity] = _Session(identity, params.roots, request, self._link, self._cache)
        return wire.FuzzyFileSearchSessionStartResponse()

    async def update(self, request: HostRequest) -> wire.FuzzyFileSearchSessionUpdateResponse:
        params = request.params(wire.FuzzyFileSearchSessionUpdateParams)
        session = self._sessions.get(params.session_id)
        if session is None:
            raise RpcError(f"fuzzy file search session not found: {params.session_id}")
        session.update(params.query)
        return wire.FuzzyFileSearchSessionUpdateResponse()

    async def stop(self, request: HostRequest) -> wire.FuzzyFileSearchSessionStopResponse:
        params = request.params(wire.FuzzyFileSearchSessionStopParams)
        session = self._sessions.pop(params.session_id, None)
        if session is not None:
            session.stop()
        return wire.FuzzyFileSearchSessionStopResponse()
