"""How a turn ends: completed, failed or interrupted. The end is on the disk before anybody hears of it."""

from __future__ import annotations

from collections.abc import Callable

from protocol.items import AgentMessageItem
from protocol.notifications import ErrorNotice, TurnNotice
from protocol.threads import IdleStatus, SystemErrorStatus
from protocol.turns import Turn, TurnError, TurnStatus
from rollouts.entries import task_complete, turn_aborted
from workers.instructions import message
from workers.models.errors import ModelError
from workers.session import Session, now_ms

__all__ = ["TurnEnd", "bare"]

ABORTED = (
    "<turn_aborted>\nThe user interrupted the previous turn on purpose. Commands that were running have been ended; "
    "if something was half done, look at its state before you go on.\n</turn_aborted>"
)


def bare(turn: Turn) -> Turn:
    """The turn as `turn/started` and `turn/completed` show it: without its items."""
    return Turn(
        id=turn.id,
        root_turn_id=turn.root_turn_id,
        status=turn.status,
        error=turn.error,
        started_at=turn.started_at,
        completed_at=turn.completed_at,
        duration_ms=turn.duration_ms,
    )


class TurnEnd:
    """The end of one turn; exactly one of its three methods is called, once."""

    def __init__(self, session: Session, turn: Turn, started_ms: int) -> None:
        self._session = session
        self._turn = turn
        self.started_ms = started_ms
        """Unix milliseconds."""

    def completed(self) -> None:
        session, turn = self._session, self._turn
        self._close("completed")
        messages = [item for item in turn.items if item.__struct_config__.tag == "agentMessage"]
        session.store(
            [
                task_complete(
                    turn.id,
                    completed_at=turn.completed_at or 0,
                    started_at=turn.started_at,
                    duration_ms=turn.duration_ms,
                    last_agent_message=getattr(messages[-1], "text", None) if messages else None,
                )
            ]
        )
        if messages and not session.pursuit.continues:  # else there is more to come, as with the peer
            session.tell_unread(turn.id)
        session.set_status(IdleStatus())
        notice = bare(turn)
        notice.items = messages[-1:]
        notice.items_view = "summary" if messages else "notLoaded"
        self._say_completed(notice)

    def failed(self, error: ModelError) -> None:
        session, turn = self._session, self._turn
        turn.error = TurnError(
            message=str(error), codex_error_info=error.info, additional_details=error.details
        )
        self._close("failed")
        session.store(
            [
                task_complete(
                    turn.id,
                    completed_at=turn.completed_at or 0,
                    started_at=turn.started_at,
                    duration_ms=turn.duration_ms,
                    error=turn.error,
                )
            ]
        )
        session.set_status(SystemErrorStatus())
        self.error(turn.error, retry=False)
        session.tell_unread(turn.id)
        self._say_completed(bare(turn))

    def interrupted(
        self, answer: Callable[[], None], *, reason: str = "interrupted", told: bool = True
    ) -> None:
        """`answer` is called when the turn is over and stored, before clients are told.

        `reason` "replaced": another turn takes its place, and the model need not be told; nor if not `told`.
        """
        session, turn = self._session, self._turn
        if reason == "interrupted" and told:
            session.remember(message("user", ABORTED))
        self._close("interrupted")
        session.store(
            [
                turn_aborted(
                    turn.id,
                    completed_at=turn.completed_at or 0,
                    started_at=turn.started_at,
                    duration_ms=turn.duration_ms,
                    reason=reason,
                )
            ]
        )
        answer()
        if any(isinstance(item, AgentMessageItem) for item in turn.items):
            session.tell_unread(turn.id)
        session.set_status(IdleStatus())
        self._say_completed(bare(turn))

    def error(self, error: TurnError, *, retry: bool) -> None:
        """Say an error; with `retry` the turn goes on."""
        session = self._session
        session.notify(
            "error",
            ErrorNotice(error=error, will_retry=retry, thread_id=session.id, turn_id=self._turn.id),
        )

    def _close(self, status: TurnStatus) -> None:
        turn = self._turn
        ended = now_ms()
        turn.status = status
        turn.items_view = "full"
        turn.completed_at = ended // 1000
        turn.duration_ms = ended - self.started_ms

    def _say_completed(self, notice: Turn) -> None:
        session = self._session
        session.writer.sync()
        session.say_last("turn/completed", TurnNotice(thread_id=session.id, turn=notice))
