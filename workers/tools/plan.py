"""`update_plan`: the model's own list of steps, shown to the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from protocol.notifications import PlanStep, TurnPlanUpdated
from workers.tools.tool import Call, TurnScope, arguments_of, function, record

__all__ = ["UpdatePlan"]


class Step(msgspec.Struct):
    step: str
    status: Literal["pending", "in_progress", "completed"]


class PlanArguments(msgspec.Struct):
    plan: list[Step]
    explanation: str | None = None


_WIRE: dict[str, Literal["pending", "inProgress", "completed"]] = {
    "pending": "pending",
    "in_progress": "inProgress",
    "completed": "completed",
}


class UpdatePlan:
    name = "update_plan"

    def definition(self) -> Mapping[str, Any]:
        step = record(
            {
                "step": {"type": "string"},
                "status": {
                    "type": "string",
                    "enum": list(_WIRE),
                    "description": "At most one step in progress.",
                },
            },
            required=["step", "status"],
        )
        return function(
            self.name,
            "Shows the user the steps of the task and where it stands.",
            {"explanation": {"type": "string"}, "plan": {"type": "array", "items": step}},
            required=["plan"],
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        arguments = arguments_of(call, PlanArguments)
        scope.session.notify(
            "turn/plan/updated",
            TurnPlanUpdated(
                thread_id=scope.session.id,
                turn_id=scope.turn_id,
                explanation=arguments.explanation,
                plan=[PlanStep(step=step.step, status=_WIRE[step.status]) for step in arguments.plan],
            ),
        )
        return "Plan updated"
