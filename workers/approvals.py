"""Asking the clients: one question, the first answer counts."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Literal, TypeVar

import msgspec

from protocol.base import Wire
from protocol.link import Record
from protocol.methods import SERVER_REQUESTS
from protocol.threads import ActiveStatus
from workers.permissions import Permissions
from workers.session import Session

__all__ = ["Approvals", "Misshapen", "Unanswerable"]

T = TypeVar("T", bound=msgspec.Struct)


class Unanswerable(Exception):
    """The client answered with an error, or with something that is no answer to this question."""


class Misshapen(Unanswerable):
    """The answer is no error, but not of the form that this question has."""


class _Reply(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"")
    error: Any = None


class Approvals:
    """The questions of one worker, and what was granted for the whole session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keys = itertools.count(1)
        self._open: dict[int, asyncio.Future[bytes]] = {}
        self._abandoned: list[tuple[int, bool]] = []
        self.granted: set[str] = set()
        """Keys of what was accepted for the session."""
        self.permissions = Permissions()
        """What was granted for the session beyond the sandbox."""

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with this worker: no question is open, nothing was granted."""
        return not self._open and not self.granted and not self.permissions

    def answer(self, key: int, payload: bytes) -> None:
        question = self._open.get(key)
        if question is not None and not question.done():
            question.set_result(payload)

    def waiting(self, flag: Literal["waitingOnApproval", "waitingOnUserInput"] = "waitingOnApproval") -> None:
        """Show that the thread waits; before or after the item, as the peer does for its kind."""
        self._session.set_status(ActiveStatus(active_flags=[flag]))

    def resume(self) -> None:
        """The question is answered. The turn may have ended before: not every question is one of its own."""
        if isinstance(self._session.status, ActiveStatus):
            self._session.set_status(ActiveStatus())

    async def ask(self, method: str, params: Wire, answer: type[T], *, quiet: bool = False) -> T:
        """Ask and wait for ever: a user may be at lunch.

        `quiet`: the item that the question belongs to tells how it went, `serverRequest/resolved` is not said to
        the client that answered.

        Raises:
            Unanswerable: there will be no valid answer to this question.
        """
        assert method in SERVER_REQUESTS
        key = next(self._keys)
        question: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[key] = question
        self._session.link.say(Record.REQUEST, key, method.encode() + b"\n" + msgspec.json.encode(params))
        try:
            payload = await question
        except asyncio.CancelledError:
            self._abandoned.append((key, quiet))
            raise
        finally:
            self._open.pop(key, None)
        self._session.link.say(Record.RESOLVED, key, b"quiet" if quiet else b"")
        try:
            reply = msgspec.json.decode(payload, type=_Reply)
            if not reply.result:
                raise Unanswerable(str(reply.error))
            return msgspec.json.decode(reply.result, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Misshapen(str(error)) from None

    def withdraw(self) -> None:
        """After an interrupted turn: its questions need no answer any more."""
        for key, quiet in self._abandoned:
            self._session.link.say(Record.RESOLVED, key, b"quiet" if quiet else b"")
        self._abandoned.clear()
