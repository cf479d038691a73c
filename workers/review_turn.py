"""A turn in which the model reviews changes: `review/start`.

The answer to the request names the turn under which everything is told. `turn/started` alone carries another id, that
of the reviewer's turn within it; so it is with the peer, and clients may interrupt by either.
"""

from __future__ import annotations

from protocol.items import (
    AgentMessageItem,
    EnteredReviewModeItem,
    ExitedReviewModeItem,
    ThreadItem,
    UserMessageItem,
)
from protocol.notifications import TurnNotice
from protocol.threads import ActiveStatus
from protocol.turns import Turn
from protocol.user_input import TextInput, UserInput
from rollouts.ids import new_id
from rollouts.reviews import NO_OUTPUT
from workers.approvals import Approvals
from workers.dialogue import Dialogue
from workers.instructions import message
from workers.meter import Meter
from workers.provider import ModelAccess
from workers.reviewer import Reviewer, findings_text
from workers.session import Session
from workers.toolbox import Toolbox
from workers.tools.tool import TurnScope
from workers.turn import UnsteerableTurn

__all__ = ["ReviewTurn"]

CAME_TO_NOTHING = "Review was interrupted. Please re-run /review and wait for it to complete."

RESULT = (
    "<user_action>\n  <context>The user had changes reviewed. What the reviewer found follows; the user may ask to have "
    "some of it fixed.</context>\n  <action>review</action>\n  <results>\n  {}\n  </results>\n</user_action>"
)
NO_RESULT = (
    "<user_action>\n  <context>The user began a review that came to nothing. If asked, say that it has to be started "
    "again.</context>\n  <action>review</action>\n  <results>\n  None.\n  </results>\n</user_action>"
)


class ReviewTurn(UnsteerableTurn):
    """`hint`: what is reviewed in a few words; `prompt`: what the reviewer is asked."""

    kind = "review"

    def __init__(
        self,
        session: Session,
        access: ModelAccess,
        toolbox: Toolbox,
        approvals: Approvals,
        *,
        hint: str,
        prompt: str,
    ) -> None:
        super().__init__(session, toolbox, approvals)
        self.hint = hint
        self._prompt = prompt
        self._inner = new_id()
        self._reviewer = Reviewer.of(session)
        scope = TurnScope(self._reviewer, approvals, self.id, self.scope.diff)
        self._dialogue = Dialogue(
            scope,
            access,
            toolbox,
            Meter(self._reviewer, self.id, self.scope.diff),
            lambda error: self.error(error, retry=True),
        )
        self._left = False

    def named(self, turn_id: str) -> bool:
        return turn_id in {self.id, self._inner}

    def announce(self) -> None:
        session = self.session
        self._tell(EnteredReviewModeItem(id=new_id(), review=self.hint))
        session.begin_with(self.hint)
        session.set_status(ActiveStatus())
        inner = Turn(
            id=self._inner, root_turn_id=self.id, status="inProgress", started_at=self.turn.started_at
        )
        session.notify("turn/started", TurnNotice(thread_id=session.id, turn=inner))

    async def work(self) -> None:
        reviewer = self._reviewer
        reviewer.briefing.give()
        verdict = await self.hooks.prompt(self._prompt)
        if not verdict.allowed:
            self._leave(None)
            return
        content: list[UserInput] = [TextInput(text=self._prompt)]
        reviewer.remember(message("user", self._prompt))
        asked = UserMessageItem(id=new_id(), content=content)
        reviewer.item_started(self.id, asked)
        reviewer.item_completed(self.id, asked)
        for context in verdict.contexts:
            reviewer.remember(message("developer", context))
        again = True
        while again:
            again = await self._dialogue.respond()
            again = self.shell.remember_results() or again
        self._leave(findings_text(reviewer.last_message))

    async def failing(self) -> None:
        self._leave(None)

    async def stop(self) -> None:
        await self._dialogue.stop()
        self._leave(None)

    def _leave(self, review: str | None) -> None:
        """The end of the review, `None` for one without a result: for the clients, and for the model."""
        if self._left:
            return
        self._left = True
        self._tell(ExitedReviewModeItem(id=new_id(), review=review or NO_OUTPUT))
        said = review or CAME_TO_NOTHING
        identity = f"msg_{new_id()}"
        self.session.briefing.give()
        self.session.remember(
            message("user", RESULT.format(review) if review else NO_RESULT),
            {
                "type": "message",
                "id": identity,
                "role": "assistant",
                "content": [{"type": "output_text", "text": said}],
            },
        )
        self._tell(AgentMessageItem(id=identity, text=said))

    def _tell(self, item: ThreadItem) -> None:
        self.session.item_started(self.id, item)
        self.session.item_completed(self.id, item)
