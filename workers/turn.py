"""One turn of a thread: how it begins, how it is interrupted, how it ends. What it does in between is its kind's matter."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from protocol.notifications import TurnNotice, Warned
from protocol.threads import ActiveStatus
from protocol.turns import Turn, TurnError
from rollouts.entries import TurnOrigin, task_started
from rollouts.ids import new_id
from workers.approvals import Approvals
from workers.models.errors import ModelError
from workers.session import Session, now_ms
from workers.toolbox import Toolbox
from workers.tools.tool import StoppedByHook, TurnCancelled, TurnScope
from workers.tools.turn_diff import TurnDiff
from workers.turn_end import TurnEnd, bare
from workers.user_shell import UserShell

__all__ = ["TurnRun", "UnsteerableTurn"]

UNKNOWN_MODEL = "Model metadata for `{}` not found. Defaulting to fallback metadata; this can degrade performance and cause issues."


class TurnRun(ABC):
    """A running turn. Made by the thread's service; it owns the task until the turn has ended."""

    trigger: ClassVar[str | None] = None
    """What began it, as it stands in the rollout; None: a request."""
    worked = False
    """Whether the model has called a tool."""

    def __init__(
        self, session: Session, toolbox: Toolbox, approvals: Approvals, origin: TurnOrigin | None = None
    ) -> None:
        self.id = new_id()
        self.origin = origin or TurnOrigin(trigger=self.trigger)
        self.session = session
        self.toolbox = toolbox
        self.approvals = approvals
        self._begun = False
        self._interrupting = self._failing = False
        self._reason = "interrupted"
        self._on_interrupted: list[Callable[[], None]] = []
        self.turn = Turn(id=self.id, root_turn_id=self.origin.root or self.id, status="inProgress")
        """As clients see it now, with full items."""
        self.end = TurnEnd(session, self.turn, now_ms())
        self.scope = TurnScope(session, approvals, self.id, TurnDiff(session.settings.cwd))
        self.shell = UserShell(self.scope)
        """The user's own commands, which run beside what the turn does."""
        self.hooks = self.scope.hooks
        self.task: asyncio.Task[None] | None = None

    # --- from outside ------------------------------------------------------------------------------------------

    def start(self, ended: Callable[[], None]) -> None:
        self.task = asyncio.ensure_future(self._run())
        self.task.add_done_callback(lambda _: ended())

    @property
    def ending(self) -> bool:
        """Whether it takes no more input: it is being interrupted, has failed, or is over."""
        return self._interrupting or self._failing or self.over

    @property
    def over(self) -> bool:
        return self.task is not None and self.task.done()

    def named(self, turn_id: str) -> bool:
        """Whether a client means this turn."""
        return turn_id == self.id

    def interrupt(self, reply: Callable[[], None]) -> None:
        """End the turn; `reply` is called when it is over, before clients are told."""
        self._on_interrupted.append(reply)
        if not self.ending and self.task is not None:
            self._interrupting = True
            if self._begun:  # a task that is cancelled before its first step says nothing, not even its end
                self.task.cancel()

    async def replace(self) -> None:
        """End the turn because another one takes its place; returns when it is over."""
        if not self._interrupting:
            self._reason = "replaced"
        self.interrupt(lambda: None)
        if self.task is not None:
            await asyncio.wait((self.task,))

    # --- the life of the turn ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        session = self.session
        try:
            self._begun = True
            self._begin()
            if self._interrupting:
                raise asyncio.CancelledError
            await self.work()
            await self.shell.finish()
            session.pursuit.turn_completed(by_itself=self.trigger is not None, worked=self.worked)
            self.end.completed()
        except ModelError as error:
            # From here on an interrupt waits for this end: cancelled here, the turn would have none.
            self._failing = True
            await self.shell.stop()
            await self.failing()
            session.pursuit.turn_failed(error)
            self.end.failed(error)
            self.approvals.withdraw()
            self._answer_interrupts()
        except (asyncio.CancelledError, TurnCancelled) as error:
            self._interrupting = True
            by_hook = isinstance(error, StoppedByHook)
            # Shielded from a second cancellation: the end is said exactly once.
            await asyncio.shield(asyncio.ensure_future(self._interrupted(by_hook=by_hook)))
            # Whoever interrupted while the end was being said.
            self._answer_interrupts()
        session.updated_at = int(time.time())

    def _begin(self) -> None:
        session, turn = self.session, self.turn
        turn.started_at = self.end.started_ms // 1000
        session.turns.append(turn)
        if not session.settings.model_info.known:
            text = UNKNOWN_MODEL.format(session.settings.model)
            session.notify("warning", Warned(thread_id=session.id, message=text))
        session.pursuit.turn_began(self.id)
        self.announce()
        session.store(
            [
                task_started(
                    self.id,
                    started_at=turn.started_at,
                    context_window=session.settings.model_info.usable_window,
                    mode="plan" if session.plan_mode else "default",
                    origin=self.origin,
                ),
                *session.stored_settings(self.id),
            ]
        )

    def announce(self) -> None:
        """Tell the clients that the turn has begun."""
        session = self.session
        session.set_status(ActiveStatus())
        session.notify("turn/started", TurnNotice(thread_id=session.id, turn=bare(self.turn)))

    @abstractmethod
    async def work(self) -> None:
        """What the turn is for.

        Raises:
            ModelError: it failed.
            TurnCancelled: the user ended it in an approval.
        """

    async def failing(self) -> None:
        """What the kind of turn has to say before the end of a failed one."""
        return

    async def stop(self) -> None:
        """What the kind of turn has to stop when it is interrupted."""
        return

    def error(self, error: TurnError, *, retry: bool) -> None:
        self.end.error(error, retry=retry)

    def _answer_interrupts(self) -> None:
        replies, self._on_interrupted = self._on_interrupted, []
        for reply in replies:
            reply()

    async def _interrupted(self, *, by_hook: bool) -> None:
        await self.stop()
        await self.shell.stop()
        await self.toolbox.terminals.end_turn(self.id)
        if not by_hook and self._reason == "interrupted":
            await self.hooks.interrupted()
        self.session.pursuit.turn_interrupted()
        self.end.interrupted(self._answer_interrupts, reason=self._reason, told=not by_hook)
        self.approvals.withdraw()


class UnsteerableTurn(TurnRun):
    """A turn that takes no input of the user's while it runs."""

    kind: ClassVar[str]
    """As clients are told: "review" or "compact"."""
