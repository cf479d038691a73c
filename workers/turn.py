"""One turn: ask the model, carry out what it calls, ask again, until it has nothing more to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from protocol.items import TextInput, UserInput, UserMessageItem
from protocol.notifications import TurnNotice, Warned
from protocol.threads import ActiveStatus
from protocol.turns import Turn, TurnError
from rollouts.entries import task_started
from rollouts.ids import new_id
from workers import compaction
from workers.approvals import Approvals
from workers.input import model_input
from workers.instructions import message
from workers.meter import Meter
from workers.models.errors import ContextWindowError, ModelError
from workers.models.events import Completed, RateLimits, Retrying
from workers.models.stream import open_stream
from workers.provider import ModelAccess
from workers.response import Response
from workers.session import Session, now_ms
from workers.toolbox import Toolbox
from workers.tools.tool import TurnCancelled, TurnScope
from workers.tools.turn_diff import TurnDiff
from workers.turn_end import TurnEnd, bare

__all__ = ["TurnRun"]

UNKNOWN_MODEL = "Model metadata for `{}` not found. Defaulting to fallback metadata; this can degrade performance and cause issues."


class TurnRun:
    """A running turn. Made by the thread's service; it owns the task until the turn has ended."""

    def __init__(
        self,
        session: Session,
        access: ModelAccess,
        toolbox: Toolbox,
        approvals: Approvals,
        items: list[UserInput],
        *,
        client_id: str | None,
        output_schema: Any,
    ) -> None:
        self.id = new_id()
        self._session = session
        self._access = access
        self._toolbox = toolbox
        self._approvals = approvals
        self._input = items
        self._client_id = client_id
        self._schema = output_schema
        self._scope = TurnScope(session, approvals, self.id, TurnDiff(session.settings.cwd))
        self._meter = Meter(session, self.id, self._scope.diff)
        self._steered: list[tuple[list[UserInput], str | None]] = []
        self._response: Response | None = None
        self._stream: asyncio.Task[bool] | None = None
        self._begun = False
        self._interrupting = False
        self._on_interrupted: list[Callable[[], None]] = []
        self.turn = Turn(id=self.id, root_turn_id=self.id, status="inProgress")
        """As clients see it now, with full items."""
        self._end = TurnEnd(session, self.turn, now_ms())
        self.task: asyncio.Task[None] | None = None

    # --- from outside ------------------------------------------------------------------------------------------

    def start(self, ended: Callable[[], None]) -> None:
        self.task = asyncio.ensure_future(self._run())
        self.task.add_done_callback(lambda _: ended())

    @property
    def ending(self) -> bool:
        """Whether it takes no more input: it is being interrupted, or over."""
        return self._interrupting or self.over

    @property
    def over(self) -> bool:
        return self.task is not None and self.task.done()

    def steer(self, items: list[UserInput], client_id: str | None) -> None:
        """More input for the running turn: what the model is saying is dropped, and it is asked again."""
        self._steered.append((items, client_id))
        response, stream = self._response, self._stream
        if stream is not None and not stream.done() and response is not None and not response.calls_tools:
            stream.cancel()

    def interrupt(self, reply: Callable[[], None]) -> None:
        """End the turn; `reply` is called when it is over, before clients are told."""
        self._on_interrupted.append(reply)
        if not self._interrupting and self.task is not None:
            self._interrupting = True
            if self._begun:  # a task that is cancelled before its first step says nothing, not even its end
                self.task.cancel()

    # --- the life of the turn ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        session = self._session
        try:
            self._begun = True
            self._begin()
            if self._interrupting:
                raise asyncio.CancelledError
            await self._work()
            self._end.completed()
        except ModelError as error:
            self._end.failed(error)
            self._approvals.withdraw()
        except (asyncio.CancelledError, TurnCancelled):
            self._interrupting = True
            # Shielded from a second cancellation: the end is said exactly once.
            await asyncio.shield(asyncio.ensure_future(self._interrupted()))
            # Whoever interrupted while the end was being said.
            self._answer_interrupts()
        session.updated_at = int(time.time())

    def _begin(self) -> None:
        session, turn = self._session, self.turn
        turn.started_at = self._end.started_ms // 1000
        session.turns.append(turn)
        if not session.settings.model_info.known:
            text = UNKNOWN_MODEL.format(session.settings.model)
            session.notify("warning", Warned(thread_id=session.id, message=text))
        session.set_status(ActiveStatus())
        session.notify("turn/started", TurnNotice(thread_id=session.id, turn=bare(turn)))
        session.store(
            [
                task_started(
                    self.id,
                    started_at=turn.started_at,
                    context_window=session.settings.model_info.usable_window,
                    mode="plan" if session.plan_mode else "default",
                ),
                *session.stored_settings(self.id),
            ]
        )

    async def _work(self) -> None:
        session = self._session
        if session.needs_compaction and session.history:
            await compaction.compact(session, self._access, self.id, self._meter.tell_usage)
        session.remember_context()
        self._take_input(self._input, self._client_id)
        while True:
            again = await self._respond()
            while self._steered:
                self._take_input(*self._steered.pop(0))
                again = True
            if not again:
                return

    def _take_input(self, items: list[UserInput], client_id: str | None) -> None:
        if not items:
            return
        session = self._session
        session.remember(message_of(items, session.settings.cwd))
        item = UserMessageItem(id=new_id(), client_id=client_id, content=items)
        session.item_started(self.id, item)
        session.item_completed(self.id, item)
        session.see_input(self.turn)

    async def _respond(self) -> bool:
        """One response of the model with all its tool calls; whether it has to be asked again."""
        self._stream = asyncio.ensure_future(self._read_response())
        try:
            return await self._stream
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._interrupting or (current is not None and current.cancelling()):
                self._stream.cancel()
                await asyncio.wait((self._stream,))
                raise
            return True  # steered: the model is asked again
        finally:
            self._stream = None

    async def _read_response(self) -> bool:
        session = self._session
        request = self._access.request(session, self._toolbox.definitions(session), self._schema)
        provider = await self._access.provider(session.settings.provider)
        admission = self._access.admission()
        response = self._response = Response(session, self._scope, self._toolbox)
        try:
            stream = open_stream(
                provider,
                request,
                admission.headers,
                self._access.client,
                self._access.turn_headers(session, self.id),
                admission=admission,
            )
            async with aclosing(stream) as events:
                async for event in events:
                    if isinstance(event, Completed):
                        self._meter.count(event)
                    elif isinstance(event, RateLimits):
                        session.rate_limits = event.snapshot
                        if not self._meter.waiting:
                            # A response without usage: one that failed, or whose server does not count.
                            self._meter.tell_limits()
                    elif isinstance(event, Retrying):
                        self._error(
                            TurnError(
                                message=event.message,
                                codex_error_info=event.info,
                                additional_details=event.details,
                            ),
                            retry=True,
                        )
                        response.begin_again()
                    else:
                        response.take(event)
                    if session.link.congested:
                        # The clients are behind: leave the rest in the socket, so that TCP holds the model up.
                        await session.link.ready()
            await response.finish_calls()
            if self._meter.waiting:
                self._meter.tell_usage()
            else:
                self._meter.tell_diff()
        except ModelError as error:
            # Calls that the failed response made are over too; each has its output in the history.
            await response.abandon()
            await self._toolbox.terminals.end_unanswered()
            if isinstance(error, ContextWindowError):
                session.needs_compaction = True
                self._meter.tell_usage(force=True)
            raise
        except asyncio.CancelledError:
            # Interrupted or steered: what is known of usage and limits is told all the same.
            await response.abandon()
            if self._meter.waiting:
                self._meter.tell_usage()
            elif response.begun:
                self._meter.tell_limits()
            raise
        limit = session.settings.auto_compact_limit
        if limit and session.last_usage.total_tokens >= limit:
            session.needs_compaction = True
        return response.calls_tools

    def _error(self, error: TurnError, *, retry: bool) -> None:
        self._end.error(error, retry=retry)

    def _answer_interrupts(self) -> None:
        replies, self._on_interrupted = self._on_interrupted, []
        for reply in replies:
            reply()

    async def _interrupted(self) -> None:
        if self._response is not None:
            await self._response.abandon()
        await self._toolbox.terminals.end_turn(self.id)
        if self._meter.waiting:
            self._meter.tell_usage()
        self._end.interrupted(self._answer_interrupts)
        self._approvals.withdraw()


def message_of(items: list[UserInput], cwd: str) -> dict[str, object]:
    """The user's input as the model gets it."""
    texts = [item.text for item in items if isinstance(item, TextInput)]
    if len(texts) == len(items):
        return message("user", *texts)
    return model_input(items, cwd)
