"""What the model of a thread has been told of where and how it works, so that it hears of changes and of nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.instructions import (
    NO_SKILLS,
    PERSONALITIES,
    context_messages,
    environment_context,
    message,
    offered_skills,
)
from workers.proposed_plan import PLAN_MODE, PLAN_MODE_OVER

if TYPE_CHECKING:
    from workers.session import Session

__all__ = ["Briefing"]


class Briefing:
    """Of one session: its surroundings and skills, the mode it works in, its personality."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._context = ""
        self._skills = ""
        self._mode = ""
        self._personality: str | None = None

    @property
    def mode_text(self) -> str:
        """What the model is to be told of the mode it works in; empty for the usual one."""
        session = self._session
        return session.mode_instructions or (PLAN_MODE if session.plan_mode else "")

    def give(self) -> None:
        """Tell the model where it works: all at the beginning, what changed later."""
        session = self._session
        settings = session.settings
        context, skills = environment_context(settings), offered_skills(settings)
        if not self._context:
            session.remember(*context_messages(settings))
        else:
            if skills != self._skills:
                session.remember(message("developer", skills or NO_SKILLS))
            if context != self._context:
                session.remember(message("user", context))
        self._context, self._skills = context, skills
        if self.mode_text != self._mode:
            session.remember(message("developer", self.mode_text or PLAN_MODE_OVER))
            self._mode = self.mode_text
        personality = settings.personality
        if personality != self._personality:
            session.remember(message("developer", PERSONALITIES[personality or "none"]))
            self._personality = personality

    def surroundings_told(self) -> None:
        """The history tells them as they are, whoever wrote it."""
        self._context = environment_context(self._session.settings)
        self._skills = offered_skills(self._session.settings)

    def all_told(self) -> None:
        """The history was read from its rollout, and an empty one has told nothing of the surroundings."""
        self._mode = self.mode_text
        self._personality = self._session.settings.personality
        if self._session.history:
            self.surroundings_told()
