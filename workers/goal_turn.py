"""A turn that the thread begins by itself, to get on with its goal."""

from __future__ import annotations

from workers.approvals import Approvals
from workers.goal_words import continuing
from workers.instructions import message
from workers.model_turn import ModelTurn
from workers.provider import ModelAccess
from workers.session import Session
from workers.toolbox import Toolbox

__all__ = ["GoalTurn"]


class GoalTurn(ModelTurn):
    trigger = "goal"

    def __init__(self, session: Session, access: ModelAccess, toolbox: Toolbox, approvals: Approvals) -> None:
        super().__init__(session, access, toolbox, approvals, None)

    async def take_first_input(self) -> bool:
        goal = self.session.pursuit.goal
        if goal is not None:
            self.session.remember(message("user", continuing(goal)))
        return True
