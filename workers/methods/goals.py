"""The goal of a thread: what clients set is kept, told and stored with the thread. It is theirs to pursue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from protocol import control as wire
from protocol import rpc
from protocol.base import Absent
from protocol.notifications import ThreadReference
from rollouts.entries import goal_cleared, goal_updated
from workers.call import Call

if TYPE_CHECKING:
    from workers.thread import ThreadService

MAX_OBJECTIVE_CHARS = 4000
"""The peer's limit."""


async def read(service: ThreadService, call: Call) -> None:
    call.reply(wire.ThreadGoalGetResponse(goal=service.loaded().goal))


async def change(service: ThreadService, call: Call) -> None:
    session, params = service.loaded(), call.params
    objective = params.objective.strip() if params.objective is not None else None
    if objective is not None and not objective:
        raise rpc.RpcError("goal objective must not be empty")
    if objective is not None and len(objective) > MAX_OBJECTIVE_CHARS:
        raise rpc.RpcError(f"goal objective must be at most {MAX_OBJECTIVE_CHARS} characters")
    budget = params.token_budget
    if isinstance(budget, int) and budget <= 0:
        raise rpc.RpcError("goal budgets must be positive when provided")
    now = int(time.time())
    goal = session.goal
    if goal is None:
        if objective is None:
            raise rpc.RpcError(f"cannot update goal for thread {session.id}: no goal exists")
        goal = wire.ThreadGoal(
            thread_id=session.id, objective=objective, status="active", created_at=now, updated_at=now
        )
    goal = msgspec.structs.replace(
        goal,
        objective=objective or goal.objective,
        status=params.status or goal.status,
        token_budget=goal.token_budget if isinstance(budget, Absent) else budget,
        updated_at=now,
    )
    session.goal = goal
    session.store([goal_updated(session.id, goal)])
    call.reply(wire.ThreadGoalSetResponse(goal=goal))
    session.notify("thread/goal/updated", wire.ThreadGoalUpdatedNotification(thread_id=session.id, goal=goal))


async def clear(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    cleared = session.goal is not None
    if cleared:
        session.goal = None
        session.store([goal_cleared(session.id)])
    call.reply(wire.ThreadGoalClearResponse(cleared=cleared))
    if cleared:
        session.notify("thread/goal/cleared", ThreadReference(thread_id=session.id))
