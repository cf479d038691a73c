"""What clients do to the goal of a thread (`workers/goal.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol import control as wire
from protocol import rpc
from workers.call import Call
from workers.goal import Pursuit
from workers.goal_rules import GoalRefused

if TYPE_CHECKING:
    from workers.thread import ThreadService


async def read(service: ThreadService, call: Call) -> None:
    call.reply(wire.ThreadGoalGetResponse(goal=_pursuit(service).goal))


async def change(service: ThreadService, call: Call) -> None:
    pursuit = _pursuit(service)
    try:
        goal = pursuit.change(call.params)
    except GoalRefused as refusal:
        raise rpc.RpcError(str(refusal)) from None
    call.reply(wire.ThreadGoalSetResponse(goal=goal))
    pursuit.changed()
    if goal.status == "active":
        service.turns.want_goal()


async def clear(service: ThreadService, call: Call) -> None:
    pursuit = _pursuit(service)
    cleared = pursuit.clear()
    call.reply(wire.ThreadGoalClearResponse(cleared=cleared))
    if cleared:
        pursuit.tell_cleared()


def _pursuit(service: ThreadService) -> Pursuit:
    session = service.loaded()
    if not session.settings.goals:
        raise rpc.RpcError("goals feature is disabled")
    if session.ephemeral:
        raise rpc.RpcError(f"ephemeral thread does not support goals: {session.id}")
    return session.pursuit
