"""What workers ask clients: every client of the thread is asked, the first answer counts, the others are told.

A client that attaches later is asked too. When no client is attached a question can wait for ever, be declined, or
end its turn: `[bulkhead] unattended_approvals`, after `unattended_after_s`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from config.settings import Bulkhead
from protocol import rpc
from protocol.link import Frame
from protocol.methods import SERVER_REQUESTS
from supervisor import obituary
from supervisor.hub import Hub
from supervisor.loaded import LoadedThread, Question

if TYPE_CHECKING:
    from supervisor.connection import Connection

__all__ = ["Questions"]

log = logging.getLogger("bulkhead.questions")

_DECLINED = b'{"result":{"decision":"decline"}}'
_NOBODY = b'{"error":{"code":-32000,"message":"no client is attached to answer"}}'


class Questions:
    """`interrupt` ends the turn of a thread on nobody's behalf."""

    def __init__(self, hub: Hub, settings: Bulkhead, interrupt: Callable[[LoadedThread], None]) -> None:
        self._hub = hub
        self._settings = settings
        self._interrupt = interrupt
        self._loop = asyncio.get_running_loop()

    def ask(self, thread: LoadedThread, key: int, method: str, params: bytes) -> None:
        """Ask all clients of the thread what its worker calls `key`."""
        question = thread.asked[key] = Question(method, params)
        for connection in thread.subscribers:
            self._ask(thread, key, question, connection)
        self._mind(thread)

    def repeat(self, thread: LoadedThread, connection: Connection) -> None:
        """Ask a client that has attached what is still open."""
        for key, question in thread.asked.items():
            if connection not in question.identities:
                self._ask(thread, key, question, connection)

    def _ask(self, thread: LoadedThread, key: int, question: Question, connection: Connection) -> None:
        def answered(response: rpc.ClientResponse) -> None:
            # The next worker of the thread counts its questions from the beginning.
            if thread.asked.get(key) is question:
                self._answer(thread, key, response)

        question.identities[connection] = connection.ask(
            thread.id, question.method, question.params, answered
        )

    def _answer(self, thread: LoadedThread, key: int, response: rpc.ClientResponse) -> None:
        """A client's answer; the worker says when the question is resolved."""
        raw = response.result
        payload = (
            b'{"error":' + bytes(response.error or b"{}") + b"}"
            if raw is None
            else b'{"result":' + raw + b"}"
        )
        self._send(thread, key, payload)

    def resolved(self, thread: LoadedThread, key: int, *, quiet: bool = False) -> None:
        """`quiet`: an item tells how it went; only of several clients the others hear that it is settled."""
        question = thread.asked.pop(key, None)
        if question is None:
            return
        for connection, identity in question.former:
            connection.asked.pop(identity, None)
        for connection, identity in question.identities.items():
            answered = connection.asked.pop(identity, None) is None
            if quiet and (answered or len(question.identities) == 1):
                continue
            connection.notify("serverRequest/resolved", obituary.resolved(thread.id, identity), thread.id)

    def left(self, thread: LoadedThread, connection: Connection) -> None:
        """A client does not attend the thread any more."""
        for question in thread.asked.values():
            identity = question.identities.pop(connection, None)
            if identity is not None:
                question.former.append((connection, identity))
        self._mind(thread)

    # --- when nobody is there --------------------------------------------------------------------------------

    def _mind(self, thread: LoadedThread) -> None:
        if thread.asked and not thread.subscribers and self._settings.unattended_approvals != "wait":
            # Whoever attaches and leaves begins the time anew.
            self._loop.call_later(
                self._settings.unattended_after_s, self._unattended, thread, thread.attendance
            )

    def _unattended(self, thread: LoadedThread, attendance: int) -> None:
        if thread.subscribers or thread.attendance != attendance or not thread.asked:
            return
        log.warning(
            "nobody is attached to answer %d question(s): %s",
            len(thread.asked),
            self._settings.unattended_approvals,
            extra={"thread_id": thread.id, "epoch": thread.epoch},
        )
        if self._settings.unattended_approvals == "interrupt":
            self._interrupt(thread)
            return
        for key, question in thread.asked.items():
            fields = SERVER_REQUESTS[question.method].result.__struct_fields__
            self._send(thread, key, _DECLINED if "decision" in fields else _NOBODY)

    def _send(self, thread: LoadedThread, key: int, payload: bytes) -> None:
        if key in thread.asked and thread.incarnation is not None:
            self._hub.send(thread.incarnation.handle.token, Frame.ANSWER, key, payload)
