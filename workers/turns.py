"""The turns of a loaded thread, one at a time: those that clients ask for, and those for its goal in between."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from workers.goal_turn import GoalTurn
from workers.session import now_ms
from workers.turn import TurnRun

if TYPE_CHECKING:
    from workers.thread import ThreadService

__all__ = ["Turns"]


class Turns:
    def __init__(self, service: ThreadService) -> None:
        self._service = service
        self.current: TurnRun | None = None
        """The one that runs, until its end has been said."""
        self.goal_due = False
        """Whether the thread begins a turn for its goal when it has nothing else to do."""

    def run(self, turn: TurnRun) -> None:
        """Start a turn that clients have been told of."""
        self.goal_due = False
        self.current = turn
        self._service.bounds.begin_turn()
        turn.start(self._ended)

    async def settled(self) -> TurnRun | None:
        """The running turn, once it is clear that it runs on: input for one that is ending would be lost."""
        running = self.current
        if running is not None and running.ending and running.task is not None:
            await asyncio.wait((running.task,))
            running = self.current
        return running

    async def make_way(self) -> None:
        """End the running turn, because another one takes its place."""
        if self.current is not None:
            await self.current.replace()

    async def interrupt(self) -> None:
        """End the running turn; returns when it is over."""
        if self.current is not None and self.current.task is not None:
            task = self.current.task
            self.current.interrupt(lambda: None)
            await asyncio.wait((task,))

    def want_goal(self) -> None:
        """A client wants the goal pursued: when nothing else is to be done, and at once if a turn was interrupted."""
        if self.current is None or self.current.ending:
            self.goal_due = True

    def pursue_goal(self) -> None:
        """Begin a turn for the goal, unless there is something else to do: what clients want goes first."""
        service = self._service
        session = service.session
        if session is None or not self.goal_due or self.current is not None or not service.unoccupied:
            return
        if service.held and session.pursuit.wanted:
            return
        self.goal_due = False
        if not session.pursuit.wanted:
            return
        turn = GoalTurn(session, service.access, service.toolbox, service.approvals)
        session.accept_turn(0, turn.id, now_ms(), b"")
        self.run(turn)

    def _ended(self) -> None:
        turn, self.current = self.current, None
        if turn is not None and turn.task is not None:
            with suppress(asyncio.CancelledError):
                if turn.task.exception() is not None:
                    self._service.check(turn.task)
                    return
            self.goal_due = self.goal_due or turn.turn.status == "completed"
            self.pursue_goal()
