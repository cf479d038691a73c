"""The requests that came in, newest last, for the tests and for the curious (GET /log).

Credentials never get in: their headers keep the scheme and a short fingerprint, which is enough to see
whether two requests carried the same one.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec

__all__ = ["Entry", "Journal", "State", "masked"]

State: TypeAlias = Literal["open", "done", "gone", "cut"]

KEPT_REQUESTS = 1000
KEPT_BYTES = 32 * 1024 * 1024
"""A long conversation sends all of itself with every request: the bodies count, not only their number."""
_SECRET = {"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"}


class Entry(msgspec.Struct):
    """A request and how its answer ended."""

    n: int
    """Counts from 1 over the life of the server."""
    at: float
    """Unix time of arrival, in seconds."""
    method: str
    path: str
    headers: dict[str, str]
    body: msgspec.Raw | str | None
    """The JSON of the body; text that is no JSON as a string; None without a body."""
    state: State = "open"
    """`open` while it is being answered, then `done`, `gone` (the client left before the end) or `cut`."""
    status: int | None = None
    """The HTTP status of the answer, once it is known."""


class Journal:
    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.total = 0
        self.version = 0
        self._bytes = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def add(
        self, method: str, path: str, headers: Iterable[tuple[str, str]], raw: bytes, *, valid: bool
    ) -> Entry:
        """Note a request. `valid` says that `raw` is JSON, so that it can be repeated as it is."""
        body: msgspec.Raw | str | None = None
        if raw:
            body = msgspec.Raw(raw) if valid else raw.decode("utf-8", "replace")
        self.total += 1
        entry = Entry(self.total, time.time(), method, path, masked(headers), body)
        self.entries.append(entry)
        self._bytes += _size(entry)
        while len(self.entries) > KEPT_REQUESTS or (self._bytes > KEPT_BYTES and len(self.entries) > 1):
            self._bytes -= _size(self.entries.popleft())
        self._changed()
        return entry

    def answered(self, entry: Entry, status: int) -> None:
        """Note that the head of the answer goes out."""
        entry.status = status
        self._changed()

    def settled(self, entry: Entry, state: State) -> None:
        """Note that the answer is over."""
        entry.state = state
        self._changed()

    def clear(self) -> None:
        self.entries.clear()
        self._bytes = 0
        self._changed()

    def page(self) -> bytes:
        """Encode `{"version": n, "total": n, "requests": [...]}`."""
        whole: dict[str, Any] = {"version": self.version, "total": self.total, "requests": list(self.entries)}
        return msgspec.json.encode(whole)

    async def wait(self, since: int, timeout: float) -> None:
        """Wait until something happened after version `since`, or `timeout` seconds went by."""
        if self.version > since:
            return
        change = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        try:
            await asyncio.wait((change,), timeout=timeout)
        finally:
            self._waiting.discard(change)

    def wake(self) -> None:
        """Let those who wait go: the server ends."""
        for change in self._waiting:
            if not change.done():
                change.set_result(None)

    def _changed(self) -> None:
        self.version += 1
        self.wake()


def masked(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Key headers by lower-case name, secrets replaced by their scheme and 8 hex digits of their SHA-256."""
    return {
        name.lower(): _fingerprint(value) if name.lower() in _SECRET else value for name, value in headers
    }


def _fingerprint(value: str) -> str:
    scheme, space, secret = value.rpartition(" ")
    digest = hashlib.sha256(secret.encode()).hexdigest()[:8]
    return f"{scheme}{space}***{digest}"


def _size(entry: Entry) -> int:
    return len(bytes(entry.body)) if isinstance(entry.body, msgspec.Raw) else len(entry.body or "")
