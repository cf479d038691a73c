"""One request of a client, as a worker's method sees it."""

from __future__ import annotations

from typing import Any

from protocol import rpc
from protocol.base import Wire
from protocol.link import Command, Record
from protocol.methods import METHODS
from protocol.refusal import decode_params
from workers.link import Link
from workers.session import Session, now_ms

__all__ = ["Call"]


class Call:
    """The decoded params of a request, and the ways to answer it.

    Raises:
        RpcError: the params do not fit the method's row.
    """

    def __init__(self, link: Link, key: int, command: Command) -> None:
        self._link = link
        self._key = key
        self._id = bytes(command.id)
        self.method = command.method
        self.context = command.context
        """What the front has added."""
        self.experimental = command.experimental
        """Whether the client asked for the experimental interface."""
        self.params: Any = decode_params(command.params, METHODS[command.method].params)

    def reply(self, result: Wire) -> None:
        self._link.say(Record.REPLY, self._key, rpc.result_line(self._id, result))

    def refuse(self, error: rpc.RpcError) -> None:
        self._link.say(Record.REPLY, self._key, rpc.error_line(self._id, error))

    def notice(self, method: str, params: Wire) -> None:
        """A line for the client of this request alone."""
        self._link.say(Record.NOTICE, self._key, rpc.notification_line(method, params))

    def accept_turn(self, session: Session, turn_id: str, result: Wire) -> None:
        """Answer, and have the front know that a turn has begun: it says its end if we cannot."""
        session.accept_turn(self._key, turn_id, now_ms(), rpc.result_line(self._id, result))
