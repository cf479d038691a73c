"""Which threads have something that nobody has read: one small file a thread, in `bulkhead/receipts/`.

The process that owns the thread writes it: its worker while it is loaded, else the catalog's.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

import msgspec

from protocol.receipts import ThreadReadState, ThreadStartUnread, TurnUnread
from rollouts.errors import ReadStateConflict
from rollouts.layout import Home
from rollouts.lines import decode_as

__all__ = ["Receipts"]


class Receipts:
    """The read states of a home's threads, by thread id."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def get(self, thread_id: str) -> ThreadReadState:
        """All read where nothing is known, e.g. as no turn has ended here."""
        try:
            raw = self._path(thread_id).read_bytes()
        except OSError:
            raw = b""
        # The revision of what is not stored: the same for everybody who asks.
        return decode_as(ThreadReadState, raw) or ThreadReadState(revision=f"initial:{thread_id}")

    def turn_ended(self, thread_id: str, turn_id: str) -> ThreadReadState:
        """Raises OSError."""
        first = self.get(thread_id).first_unread
        return self._put(thread_id, first or TurnUnread(turn_id=turn_id))

    def turns_left(self, thread_id: str, left: Container[str]) -> ThreadReadState | None:
        """After turns were taken away; None if that changes nothing. Raises OSError."""
        first = self.get(thread_id).first_unread
        if not isinstance(first, TurnUnread) or first.turn_id in left:
            return None
        return self._put(thread_id, None)

    def mark(self, thread_id: str, expected: str, *, read: bool) -> ThreadReadState:
        """As read, or as unread from the start.

        Raises:
            ReadStateConflict: its revision is not the expected one.
            OSError
        """
        known = self.get(thread_id)
        if known.revision != expected:
            raise ReadStateConflict(known)
        return self._put(thread_id, None if read else ThreadStartUnread())

    def drop(self, thread_id: str) -> None:
        with suppress(OSError):
            self._path(thread_id).unlink()

    def _put(self, thread_id: str, first: ThreadStartUnread | TurnUnread | None) -> ThreadReadState:
        state = ThreadReadState(first_unread=first, revision=str(uuid.uuid4()))
        path = self._path(thread_id)
        os.makedirs(path.parent, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.encode(state))
        os.replace(draft, path)
        return state

    def _path(self, thread_id: str) -> Path:
        return self._home.receipts / f"{thread_id}.json"
