"""The goal of a thread: what it has cost, when its pursuit is over, and what clients hear of it.

A thread with an active goal begins turns by itself (`workers/goal_turn.py`). That must never be for ever: a turn that
fails, a budget that is spent, turns that do nothing and turns without end all stop it, and say so.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

from protocol.base import Absent
from protocol.control import (
    ThreadGoal,
    ThreadGoalSetParams,
    ThreadGoalStatus,
    ThreadGoalUpdatedNotification,
)
from protocol.notifications import ThreadReference, Warned
from protocol.turns import Turn
from rollouts.entries import goal_cleared, goal_updated
from workers import goal_words
from workers.goal_costs import Costs
from workers.goal_rules import (
    GoalRefused,
    check_budget,
    checked_objective,
    new_goal,
    with_costs,
    within_budget,
)
from workers.models.errors import ModelError

if TYPE_CHECKING:
    from workers.session import Session

__all__ = ["Pursuit"]

IDLE_TURNS = 10
"""So many turns in a row without a single call of a tool, and the model has nothing to do: it only costs."""
_COUNTED = ("active", "budgetLimited")
"""A turn that runs when the budget is spent is counted to its end."""


class Pursuit:
    """The goal of one thread, or none. Costs are added up as they come and told when something is done."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.goal: ThreadGoal | None = None
        self.held = False
        """No turns by itself for now: the thread or the server is to end."""
        self.costs = Costs()
        self._turn_id: str | None = None
        self._turns = self._idle_turns = 0
        self._why = ""
        self._edited = self._spent = False

    # --- what it is ----------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        return self.goal is not None and self.goal.status == "active"

    @property
    def wanted(self) -> bool:
        """Whether there is something to pursue; a plan is not carried on by itself."""
        return self.active and not self._session.plan_mode

    @property
    def continues(self) -> bool:
        """Whether the thread begins a turn by itself as soon as it has nothing else to do."""
        return self.wanted and not self.held

    @property
    def told(self) -> str:
        """For operators: the status, and why it is not active any more if that was not anybody's wish."""
        if self.goal is None:
            return ""
        return f"{self.goal.status}: {self._why}" if self._why else self.goal.status

    # --- what it costs -------------------------------------------------------------------------------------------

    def turn_began(self, turn_id: str) -> None:
        self._turn_id = turn_id
        self.costs.turn_began()

    def account(self) -> None:
        """Something is done: what it cost is stored and told, unless it cost nothing."""
        goal = self._with_costs()
        if goal is not None and goal is not self.goal:
            self._keep(goal)
            self._tell()

    def turn_completed(self, *, by_itself: bool, worked: bool) -> None:
        """`worked`: whether the model has called a tool."""
        self.account()
        if by_itself and self.active:
            self._turns += 1
            self._idle_turns = 0 if worked else self._idle_turns + 1
            limit = self._session.settings.goal_turns
            if self._idle_turns == IDLE_TURNS:
                self._stop("blocked", goal_words.IDLE.format(IDLE_TURNS))
            elif limit and self._turns >= limit:
                self._stop("blocked", goal_words.ENDLESS.format(limit))
        self._turn_over()

    def turn_failed(self, error: ModelError) -> None:
        """The next turn would fail the same way; whoever sets the goal active again thinks otherwise."""
        goal = self._with_costs()
        if goal is not None and goal.status == "active":
            status: ThreadGoalStatus = "usageLimited" if error.info == "usageLimitExceeded" else "blocked"
            self._why = str(error)
            self._keep(msgspec.structs.replace(goal, status=status))
            self._tell()
        self._turn_over()

    def turn_interrupted(self) -> None:
        """It goes on after the user's next turn."""
        self.account()
        self._turn_over()

    def user_spoke(self) -> None:
        """Turns are counted from here."""
        self._turns = self._idle_turns = 0

    def recovered(self, last: Turn | None) -> bool:
        """A new worker has the thread; whether it begins a turn by itself.

        A turn that ended with its worker is not tried again: it would be a loop that kills one after the other.
        """
        if last is None or self.goal is None:
            return self.active
        failure = last.error.message if last.status == "failed" and last.error is not None else ""
        if self.active and last.status == "failed":
            self._turn_id = last.id
            self._stop("blocked", failure)
            self._turn_id = None
        elif self.goal.status in ("blocked", "usageLimited"):
            self._why = failure  # as the worker before has told it
        return self.active and last.status == "completed"

    # --- what clients and the model do to it --------------------------------------------------------------------

    def change(self, params: ThreadGoalSetParams) -> ThreadGoal:
        """What a client wants of it; the caller answers, and then calls `changed`.

        Raises:
            GoalRefused
        """
        objective = checked_objective(params.objective) if params.objective is not None else None
        budget = params.token_budget
        check_budget(budget)
        goal = self.goal
        if goal is None and objective is None:
            raise GoalRefused(f"cannot update goal for thread {self._session.id}: no goal exists")
        self.account()
        self.user_spoke()
        self._why = ""
        if self.goal is None:
            assert objective is not None
            goal = new_goal(self._session.id, objective, None)
        else:
            goal = self.goal
            self._edited = self._turn_id is not None and objective not in (None, goal.objective)
        if not isinstance(budget, Absent):
            goal = msgspec.structs.replace(goal, token_budget=budget)
        status = params.status or goal.status
        if goal.status == "budgetLimited" and status in ("paused", "blocked"):
            status = "budgetLimited"
        goal = msgspec.structs.replace(
            goal, objective=objective or goal.objective, status=status, updated_at=int(time.time())
        )
        if status == "active" and not self.active:
            self.costs.forget()
        goal = within_budget(goal)
        self._keep(goal)
        return goal

    def changed(self) -> None:
        """Tell what a client has made of it."""
        self._tell(by_client=True)

    def clear(self) -> bool:
        """Whether there was a goal; the caller answers, and then tells."""
        if self.goal is None:
            return False
        self.goal = None
        self._why = ""
        self._edited = self._spent = False
        self._session.store([goal_cleared(self._session.id)])
        self._session.tell_facts()
        return True

    def tell_cleared(self) -> None:
        self._session.notify("thread/goal/cleared", ThreadReference(thread_id=self._session.id))

    def create(self, objective: str, budget: int | None) -> ThreadGoal:
        """A goal of the model's, in the user's name.

        Raises:
            GoalRefused
        """
        objective = checked_objective(objective)
        check_budget(budget)
        if self.goal is not None and self.goal.status != "complete":
            raise GoalRefused(
                "cannot create a new goal because this thread has an unfinished goal; "
                "complete the existing goal first"
            )
        goal = new_goal(self._session.id, objective, budget)
        self.costs.forget()
        self._keep(goal)
        self._tell()
        return goal

    def finish(self, status: Literal["complete", "blocked", "paused"]) -> ThreadGoal:
        """The model's word on it.

        Raises:
            GoalRefused
        """
        if self.goal is None:
            raise GoalRefused("cannot update goal because this thread has no goal")
        self.account()
        goal = self.goal
        if goal.status != "budgetLimited" or status == "complete":
            goal = msgspec.structs.replace(goal, status=status, updated_at=int(time.time()))
        self._why = ""
        self._keep(goal)
        self._tell()
        return goal

    def news(self, *, again: bool) -> str | None:
        """What the model has to hear in its turn. That the budget is spent is of use only if the turn goes on."""
        edited, spent = self._edited, self._spent and again
        self._edited = self._spent = False
        if self.goal is None:
            return None
        if edited and self.active:
            return goal_words.edited(self.goal)
        return goal_words.spent(self.goal) if spent and self.goal.status == "budgetLimited" else None

    def keep_again(self) -> None:
        """After a revert, which takes turns back and not what the user wants."""
        if self.goal is not None:
            self._keep(self.goal)

    # --- inside --------------------------------------------------------------------------------------------------

    def _with_costs(self) -> ThreadGoal | None:
        """The goal with what came up since it was asked last; the same object if that is nothing."""
        tokens, seconds = self.costs.take()
        goal = self.goal
        if goal is None or goal.status not in _COUNTED:
            self.costs.forget()
            return goal
        if not tokens and not seconds:
            return goal
        counted = with_costs(goal, tokens, seconds)
        self._spent = self._spent or counted.status != goal.status
        return counted

    def _turn_over(self) -> None:
        self._turn_id = None
        self.costs.turn_over()
        self._edited = self._spent = False

    def _stop(self, status: ThreadGoalStatus, why: str) -> None:
        assert self.goal is not None
        self._why = why
        self._keep(msgspec.structs.replace(self.goal, status=status, updated_at=int(time.time())))
        self._tell()
        text = goal_words.STOPPED.format(why)
        self._session.notify("warning", Warned(thread_id=self._session.id, message=text))

    def _keep(self, goal: ThreadGoal) -> None:
        before, self.goal = self.goal, goal
        self._session.store([goal_updated(self._session.id, goal)])
        if before is None or before.status != goal.status:
            self._session.tell_facts()

    def _tell(self, *, by_client: bool = False) -> None:
        assert self.goal is not None
        self._session.notify(
            "thread/goal/updated",
            ThreadGoalUpdatedNotification(
                thread_id=self._session.id, turn_id=None if by_client else self._turn_id, goal=self.goal
            ),
        )
