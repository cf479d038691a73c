"""Pages of the thread's turns and items."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protocol import rpc
from protocol.history import ThreadItemsReadResponse
from rollouts.pages import Pager
from rollouts.reader import read_history
from workers.call import Call
from workers.session import Session
from workers.stored.history import check_item_ids, no_items

if TYPE_CHECKING:
    from workers.thread import ThreadService

__all__ = ["items_list", "items_read", "turns_list"]


async def turns_list(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    if session.ephemeral:
        raise rpc.RpcError("ephemeral threads do not support thread/turns/list")
    if not session.writer.stored:
        raise rpc.RpcError(
            f"thread {session.id} is not materialized yet; "
            "thread/turns/list is unavailable before first user message"
        )
    pager = session.pager
    if session.history_mode == "legacy":
        # Items of a legacy thread have the ids and times that a reader of the file gives them.
        path = session.writer.path
        history = await asyncio.get_running_loop().run_in_executor(None, read_history, path)
        pager = Pager(session.id, history.turns, history.positions, paginated=False)
    call.reply(pager.turns(call.params))


async def items_list(service: ThreadService, call: Call) -> None:
    call.reply(_with_items(service.loaded()).pager.items(call.params))


async def items_read(service: ThreadService, call: Call) -> None:
    params = call.params
    check_item_ids(params.item_ids)
    pager = _with_items(service.loaded()).pager
    call.reply(ThreadItemsReadResponse(data=pager.read(params.turn_id, params.item_ids)))


def _with_items(session: Session) -> Session:
    if session.ephemeral or session.history_mode == "legacy" or not session.writer.stored:
        raise no_items()
    return session
