"""What a goal may be, and what follows from its numbers."""

from __future__ import annotations

import time

import msgspec

from protocol.base import Absent
from protocol.control import ThreadGoal

__all__ = ["GoalRefused", "check_budget", "checked_objective", "new_goal", "with_costs", "within_budget"]

MAX_OBJECTIVE_CHARS = 4000
"""The peer's limit."""


class GoalRefused(Exception):
    """A goal that cannot be; the text is for whoever wanted it."""


def checked_objective(text: str) -> str:
    text = text.strip()
    if not text:
        raise GoalRefused("goal objective must not be empty")
    if len(text) > MAX_OBJECTIVE_CHARS:
        raise GoalRefused(f"goal objective must be at most {MAX_OBJECTIVE_CHARS} characters")
    return text


def check_budget(budget: int | Absent | None) -> None:
    if isinstance(budget, int) and budget <= 0:
        raise GoalRefused("goal budgets must be positive when provided")


def new_goal(thread_id: str, objective: str, budget: int | None) -> ThreadGoal:
    now = int(time.time())
    return ThreadGoal(
        thread_id=thread_id,
        objective=objective,
        status="active",
        token_budget=budget,
        created_at=now,
        updated_at=now,
    )


def with_costs(goal: ThreadGoal, tokens: int, seconds: int) -> ThreadGoal:
    counted = msgspec.structs.replace(
        goal,
        tokens_used=goal.tokens_used + tokens,
        time_used_seconds=goal.time_used_seconds + seconds,
        updated_at=int(time.time()),
    )
    return within_budget(counted)


def within_budget(goal: ThreadGoal) -> ThreadGoal:
    """The goal, no longer active if its budget is spent."""
    if goal.status == "active" and goal.token_budget is not None and goal.tokens_used >= goal.token_budget:
        return msgspec.structs.replace(goal, status="budgetLimited")
    return goal
