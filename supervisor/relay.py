"""What a worker says, on its way to the clients: records come in as a stream, lines go out as they are.

The front decodes nothing of the lines. It keeps what it must know of a thread (turn, status, open requests), gives
the worker its credit back when the clients have taken what it said, and answers commands by their keys.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from functools import partial

import msgspec

from protocol.link import Frame, Record, TornRecord, records
from supervisor.hub import Hub
from supervisor.journal import Journal
from supervisor.loaded import Facts, Incarnation, LoadedThread, Turn
from supervisor.metrics import Metrics
from supervisor.outbox import Done
from supervisor.questions import Questions
from supervisor.states import State

__all__ = ["Relay"]

log = logging.getLogger("bulkhead.relay")

CREDIT_DELAY_S = 0.2
"""Small rests are given back too: a worker with its whole window knows that its log has been delivered."""
JOIN_BYTES = 4096
"""Lines that came together wait together up to this: one by one, a line's bookkeeping is twice its size. Lanes take
turns of about as much, so it costs no fairness."""
_FIRST_WORD = b'"item/agentMessage/delta"'
_LOADING = frozenset({"thread/start", "thread/resume", "thread/fork"})


class Relay:
    """`credit_bytes` is a worker's window; `dismiss` gets a thread whose first command was refused."""

    def __init__(
        self,
        hub: Hub,
        questions: Questions,
        metrics: Metrics,
        journal: Journal,
        *,
        credit_bytes: int,
        dismiss: Callable[[LoadedThread], None],
    ) -> None:
        self._hub = hub
        self.questions = questions
        self._credit_bytes = credit_bytes
        self._dismiss = dismiss
        self._metrics = metrics
        self._journal = journal
        self.skills_found: Callable[[Facts], None] = lambda _: None
        """Called when a thread has told the folders in which its skills are."""
        self._loop = asyncio.get_running_loop()

    def stream(self, incarnation: Incarnation, offset: int, payload: bytes) -> None:
        incarnation.last_heard = time.monotonic()
        incarnation.ping_sent = None
        if offset != incarnation.received:
            log.error(
                "thread %s: a gap in the stream (%d, not %d)",
                incarnation.thread.id,
                offset,
                incarnation.received,
            )
            incarnation.handle.signal(signal.SIGKILL)
            return
        lines: list[bytes] = []
        owed = length = 0
        try:
            for kind, key, body, size in records(payload):
                incarnation.received += size
                if kind != Record.EVENTS or length >= JOIN_BYTES:
                    if lines:
                        self._spread(incarnation, b"".join(lines), owed)
                    lines, owed, length = [], 0, 0
                if kind == Record.EVENTS:
                    lines.append(body)
                    owed += size
                    length += len(body)
                else:
                    self.take(incarnation, kind, key, body, size)
        except TornRecord:
            incarnation.handle.signal(signal.SIGKILL)
        if lines:
            self._spread(incarnation, b"".join(lines), owed)

    def take(self, incarnation: Incarnation, kind: int, key: int, body: bytes, size: int) -> None:
        thread = incarnation.thread
        if kind == Record.EVENTS:
            self._spread(incarnation, body, size)
            return
        if kind == Record.ENDED:
            self._turn(thread, None)
            self._spread(incarnation, body, size)
            return
        if kind == Record.REPLY:
            self._reply(incarnation, key, body, size)
            return
        if kind == Record.ACCEPTED:
            head, _, line = body.partition(b"\n")
            turn_id, _, started = head.partition(b" ")
            self._turn(thread, Turn(turn_id.decode(), int(started)))
            self._reply(incarnation, key, line, size)
            return
        if kind == Record.NOTICE:
            pending = thread.pending.get(key)
            if pending is not None and pending.connection is not None:
                pending.connection.pass_on(thread.id, body)
        elif kind == Record.STATUS:
            thread.status = body
        elif kind == Record.REQUEST:
            method, _, params = body.partition(b"\n")
            self.questions.ask(thread, key, method.decode(), params)
        elif kind == Record.RESOLVED:
            self.questions.resolved(thread, key, quiet=body == b"quiet")
        elif kind == Record.FACTS:
            before, thread.facts = thread.facts, msgspec.json.decode(body, type=Facts)
            thread.facts.name = thread.named or thread.facts.name
            if thread.facts.goal != before.goal:
                self._journal.note("goal", thread.id, status=thread.facts.goal or "none")
            if thread.facts.skill_roots:
                self.skills_found(thread.facts)
        self._release(incarnation, size)

    def _turn(self, thread: LoadedThread, turn: Turn | None) -> None:
        if turn is not None:
            thread.turn_began = time.monotonic()
            thread.silent = True
        elif thread.turn is not None:
            self._metrics.turns.observe(time.monotonic() - thread.turn_began)
        thread.turn = turn
        if thread.incarnation is not None:
            thread.incarnation.idle_since = time.monotonic()
        if thread.state in (State.IDLE, State.BUSY):
            thread.move(State.IDLE if turn is None else State.BUSY)

    def _spread(self, incarnation: Incarnation, lines: bytes, size: int) -> None:
        """Lines for all clients of the thread; the worker has its credit back when the slowest has taken them."""
        thread = incarnation.thread
        if thread.silent and _FIRST_WORD in lines:
            thread.silent = False
            self._metrics.first_tokens.observe(time.monotonic() - thread.turn_began)
        subscribers = thread.subscribers
        if not subscribers:
            self._release(incarnation, size)
            return
        if len(subscribers) == 1:
            [connection] = subscribers
            connection.pass_on(thread.id, lines, self._released(incarnation), size)
            return
        left = len(subscribers)

        def taken(_: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._release(incarnation, size)

        for connection in tuple(subscribers):
            connection.pass_on(thread.id, lines, taken, size)

    def _reply(self, incarnation: Incarnation, key: int, line: bytes, size: int) -> None:
        thread = incarnation.thread
        pending = thread.pending.pop(key, None)
        if pending is None:
            self._release(incarnation, size)
            return
        succeeded = not line.startswith(b'{"error"')
        if pending.connection is not None:
            pending.connection.outbox.push(thread.id, line, self._released(incarnation), size)
            if succeeded and pending.attaches:
                # Not before: what was said until now is in the answer, and who is refused hears nothing.
                thread.attach(pending.connection)
                self.questions.repeat(thread, pending.connection)
        else:
            self._release(incarnation, size)
        if pending.command.method in _LOADING and not thread.loaded:
            if succeeded:
                thread.loaded = True
                thread.adopt.recover = pending.command.params
                thread.adopt.recover_method = pending.command.method
            else:
                self._dismiss(thread)

    def _released(self, incarnation: Incarnation) -> Done:
        """The same object each time, so that an outbox can add up what it is owed."""
        if incarnation.released is None:
            incarnation.released = partial(self._release, incarnation)
        return incarnation.released

    def _release(self, incarnation: Incarnation, size: int) -> None:
        incarnation.owed += size
        # Half the window: fewer messages, and the worker never waits for a full round trip.
        if incarnation.owed * 2 >= self._credit_bytes:
            self._give_credit(incarnation)
        elif not incarnation.credit_timer:
            incarnation.credit_timer = True
            self._loop.call_later(CREDIT_DELAY_S, self._give_late_credit, incarnation)

    def _give_late_credit(self, incarnation: Incarnation) -> None:
        incarnation.credit_timer = False
        self._give_credit(incarnation)

    def _give_credit(self, incarnation: Incarnation) -> None:
        if incarnation.owed and incarnation.thread.incarnation is incarnation:
            self._hub.send(incarnation.handle.token, Frame.CREDIT, incarnation.owed)
            incarnation.owed = 0
