"""One request, as a method of the catalog worker sees it."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from config.flags import Flags
from protocol import rpc
from protocol.base import Wire
from protocol.link import Adopt, Command, Record
from protocol.refusal import decode_params
from rollouts.catalog import Catalog
from rollouts.errors import RolloutError
from rollouts.ids import canonical_id
from workers.link import Link

__all__ = ["StoredRequest"]

T = TypeVar("T", bound=msgspec.Struct)
C = TypeVar("C")


class StoredRequest:
    """What was asked, and what this process knows: the home, the stored threads, the front's part."""

    def __init__(self, adopt: Adopt, threads: Catalog, link: Link, key: int, command: Command) -> None:
        self.home = adopt.home
        self.flags = msgspec.json.decode(adopt.flags, type=Flags)
        self.threads = threads
        self.experimental = command.experimental
        """Whether the client asked for the experimental interface."""
        self._link = link
        self._key = key
        self._command = command

    def params(self, kind: type[T]) -> T:
        """:raises RpcError: they do not fit."""
        return decode_params(self._command.params, kind)

    def context(self, kind: type[C]) -> C:
        """What the front added to the request."""
        return msgspec.json.decode(self._command.context, type=kind)

    def cwd_of(self, thread_id: str | None) -> str | None:
        """The folder of a loaded thread; None without a thread, and for one that has stored nothing yet.

        :raises RpcError: there is no such thread, or it is not loaded.
        """
        if thread_id is None:
            return None
        try:
            thread_id = canonical_id(thread_id)
        except RolloutError as error:
            raise rpc.RpcError(f"invalid thread id: {error}") from None
        if thread_id not in self.context(dict[str, msgspec.Raw]):
            raise rpc.RpcError(f"thread not found: {thread_id}")
        try:
            return self.threads.read(thread_id, include_turns=False).cwd
        except RolloutError:
            return None

    def notice(self, method: str, params: Wire) -> None:
        """A line for the client of this request alone, before the result."""
        self._link.say(Record.NOTICE, self._key, rpc.notification_line(method, params))
