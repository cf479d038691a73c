"""A turn that only makes room: `thread/compact/start`."""

from __future__ import annotations

from workers import compaction
from workers.approvals import Approvals
from workers.meter import Meter
from workers.provider import ModelAccess
from workers.session import Session
from workers.toolbox import Toolbox
from workers.turn import UnsteerableTurn

__all__ = ["CompactTurn"]


class CompactTurn(UnsteerableTurn):
    kind = "compact"

    def __init__(self, session: Session, access: ModelAccess, toolbox: Toolbox, approvals: Approvals) -> None:
        super().__init__(session, toolbox, approvals)
        self._access = access

    async def work(self) -> None:
        session = self.session
        session.briefing.give()
        meter = Meter(session, self.id, self.scope.diff)
        await compaction.compact(session, self._access, self.id, meter, self.hooks, trigger="manual")
