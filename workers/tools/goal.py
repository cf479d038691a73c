"""`get_goal`, `create_goal`, `update_goal`: the model's way to the goal of its thread (`workers/goal.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from protocol.control import ThreadGoal
from workers.goal_rules import GoalRefused
from workers.tools.tool import Call, ToolRefused, TurnScope, arguments_of, function

__all__ = ["CreateGoal", "GetGoal", "UpdateGoal"]

REPORT = "The goal is reached. Tell the user what it took: the tokens (and the budget, if there is one) and the time."
NOT_THE_MODELS = (
    "update_goal can only mark the existing goal complete, blocked, or paused at the user's explicit request; resume, "
    "budget-limited, and usage-limited status changes are controlled by the user or system"
)


_ENDINGS: dict[str, Literal["complete", "blocked", "paused"]] = {
    "complete": "complete",
    "blocked": "blocked",
    "paused": "paused",
}


class CreateArguments(msgspec.Struct):
    objective: str
    token_budget: int | None = None


class UpdateArguments(msgspec.Struct):
    status: str


class GetGoal:
    name = "get_goal"

    def definition(self) -> Mapping[str, Any]:
        return function(
            self.name,
            "Shows the goal of this thread: its objective and status, what it has cost and what is left.",
            {},
            required=[],
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        return _shown(scope.session.pursuit.goal)


class CreateGoal:
    name = "create_goal"

    def definition(self) -> Mapping[str, Any]:
        return function(
            self.name,
            "Gives this thread a goal that is pursued over many turns, until it is reached. Only when the user (or your "
            "instructions) asks for a goal in so many words; an ordinary task is none. Fails while another goal is not "
            "reached yet.",
            {
                "objective": {"type": "string", "description": "What is to be reached, concretely."},
                "token_budget": {
                    "type": "integer",
                    "description": "How many tokens it may cost. Only if the user names a number.",
                },
            },
            required=["objective"],
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        arguments = arguments_of(call, CreateArguments)
        pursuit = scope.session.pursuit
        await pursuit.costs.counted.wait()  # what led to the goal is no cost of it
        try:
            return _shown(pursuit.create(arguments.objective, arguments.token_budget))
        except GoalRefused as refusal:
            raise ToolRefused(str(refusal)) from None


class UpdateGoal:
    name = "update_goal"

    def definition(self) -> Mapping[str, Any]:
        return function(
            self.name,
            "Says how the goal of this thread has ended. complete: all that it asks for is there, and you have checked "
            "it. blocked: the same obstacle has stood in the way for at least three turns in a row, and you can do "
            "nothing more about it without the user or a change from outside; after the user has set the goal active "
            "again, count anew. paused: the user has asked for that. The work being hard, long or unclear, or the budget "
            "being low, is neither. If the goal had a budget, tell the user what was used of it.",
            {"status": {"type": "string", "enum": list(_ENDINGS)}},
            required=["status"],
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        status = arguments_of(call, UpdateArguments).status
        if status not in _ENDINGS:
            raise ToolRefused(NOT_THE_MODELS)
        pursuit = scope.session.pursuit
        await pursuit.costs.counted.wait()
        try:
            return _shown(pursuit.finish(_ENDINGS[status]))
        except GoalRefused as refusal:
            raise ToolRefused(str(refusal)) from None


def _shown(goal: ThreadGoal | None) -> str:
    """As the peer answers; without a budget there is no field for one."""
    if goal is None:
        return msgspec.json.encode(
            {"goal": None, "remainingTokens": None, "completionBudgetReport": None}
        ).decode()
    shown = {name: value for name, value in msgspec.to_builtins(goal).items() if value is not None}
    left = None if goal.token_budget is None else max(0, goal.token_budget - goal.tokens_used)
    reported = goal.status == "complete" and (goal.token_budget is not None or goal.time_used_seconds > 0)
    answer = {"goal": shown, "remainingTokens": left, "completionBudgetReport": REPORT if reported else None}
    return msgspec.json.encode(answer).decode()
