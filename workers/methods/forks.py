"""Forks of the thread's history, and going back in it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from config.errors import ConfigError
from protocol.forks import ThreadForkResponse, ThreadRevertResponse
from protocol.link_calls import UnusedSource
from protocol.notifications import (
    DeprecationNotice,
    ThreadReference,
    ThreadStarted,
    ThreadStatusChanged,
)
from protocol.rpc import RpcError
from protocol.threads import NotLoadedStatus
from rollouts.errors import RolloutNotFound
from workers.call import Call
from workers.forking import revert_session
from workers.methods.threads import RESUME_HYDRATION, unstable_features
from workers.thread_view import full_turns, opened, tell_usage, thread_of

if TYPE_CHECKING:
    from workers.thread import ThreadService

__all__ = ["fork", "revert"]


async def fork(service: ThreadService, call: Call) -> None:
    """The worker is the new thread's; the one that is forked is only read."""
    params = call.params
    try:
        session = await service.fork(params, msgspec.json.decode(call.context, type=UnusedSource))
    except ConfigError as error:
        raise RpcError(f"failed to load configuration: {error}") from None
    await service.mcp.require()
    shown = not params.exclude_turns
    if shown and session.history_mode == "paginated":
        call.notice("deprecationNotice", DeprecationNotice(summary=RESUME_HYDRATION))
    if (warning := unstable_features(session)) is not None:
        call.notice("warning", warning)
    call.reply(opened(session, ThreadForkResponse, turns=full_turns(session) if shown else []))
    if shown and session.turns and session.history_mode == "paginated":
        tell_usage(session, session.turns[-1].id)
    session.notify("thread/started", ThreadStarted(thread=thread_of(session)))
    service.mcp.start()


async def revert(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    if session.ephemeral:
        raise RpcError("ephemeral threads do not support thread/revert")
    if session.history_mode == "legacy":
        raise RpcError("thread/revert only supports paginated threads")
    if not session.writer.stored:
        raise RolloutNotFound(f"no rollout found for thread id {session.id}")
    await service.turns.interrupt()
    closed = ThreadStatusChanged(thread_id=session.id, status=NotLoadedStatus())
    session.notify("thread/status/changed", closed)
    try:
        work = partial(revert_session, session, call.params.before_turn_id)
        await asyncio.get_running_loop().run_in_executor(None, work)
        left = {turn.id for turn in session.turns}
        unread = session.receipts.turns_left(session.id, left)
        if unread is not None:
            session.say_read_state(unread)
    finally:
        session.notify(
            "thread/status/changed", ThreadStatusChanged(thread_id=session.id, status=session.status)
        )
    service.learn_name(session)
    session.tell_facts()
    pager = session.pager
    call.reply(
        ThreadRevertResponse(
            thread=thread_of(session),
            turns_backwards_cursor=pager.last_turn_cursor(),
            items_backwards_cursor=pager.last_item_cursor(),
        )
    )
    session.notify("thread/reverted", ThreadReference(thread_id=session.id))
