"""Marking the thread as read or unread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.receipts import ThreadReadStateUpdateResponse
from protocol.rpc import RpcError
from workers.call import Call
from workers.stored.receipts import conflict

if TYPE_CHECKING:
    from workers.thread import ThreadService

__all__ = ["update"]


async def update(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    if session.ephemeral or not session.writer.stored:
        raise RpcError(f"no rollout found for thread id {session.id}")
    with conflict():
        state = session.receipts.mark(
            session.id, call.params.expected_revision, read=call.params.operation.read
        )
    call.reply(ThreadReadStateUpdateResponse(read_state=state))
    session.say_read_state(state)
