"""Starting, resuming and reading the thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from config.errors import ConfigError
from protocol import rpc
from protocol.notifications import (
    DeprecationNotice,
    ThreadStarted,
    ThreadStatusChanged,
    Warned,
)
from protocol.threads import ThreadReadResponse, ThreadResumeResponse, ThreadStartResponse
from protocol.turns import Turn
from workers.call import Call
from workers.session import Session
from workers.stored.threads import READ_HYDRATION
from workers.thread_view import full_turns, mode_of, opened, tell_usage, thread_of

if TYPE_CHECKING:
    from workers.thread import ThreadService

RESUME_HYDRATION = (
    "Full-history hydration is deprecated for paginated threads; use `excludeTurns: true`, "
    "then page with `thread/turns/list` and `thread/items/list`."
)
LASTING = ("approval_policy", "config", "cwd", "model", "permissions", "sandbox", "service_tier")
"""What a resume may say of the thread that holds from then on."""
UNSTABLE = (
    "Under-development features enabled: {}. Under-development features are incomplete and may behave unpredictably. "
    "To suppress this warning, set `suppress_unstable_features_warning = true` in {}."
)


async def start(service: ThreadService, call: Call) -> None:
    try:
        session = service.begin(call.params)
    except ConfigError as error:
        raise rpc.RpcError(f"failed to load configuration: {error}") from None
    await service.mcp.require()
    call.reply(opened(session, ThreadStartResponse))
    if (warning := unstable_features(session)) is not None:
        session.notify("warning", warning)
    session.notify("thread/started", ThreadStarted(thread=thread_of(session)))
    for mistake in session.settings.hook_warnings:
        session.notify("warning", Warned(thread_id=session.id, message=mistake))
    service.mcp.start()


async def resume(service: ThreadService, call: Call) -> None:
    params = call.params
    session = service.session
    fresh = session is None
    if session is None:
        try:
            # A thread begun from items is loaded already when its worker's successor takes the request again.
            session = (
                service.begin_from_items(params) if params.history is not None else await service.load(params)
            )
        except ConfigError as error:
            raise rpc.RpcError(f"failed to load configuration: {error}") from None
    elif not session.writer.stored:
        raise rpc.RpcError(f"no rollout found for thread id {session.id}")
    if fresh:
        await service.mcp.require()
    if not params.exclude_turns and session.history_mode == "paginated":
        call.notice("deprecationNotice", DeprecationNotice(summary=RESUME_HYDRATION))
    if fresh:
        if (warning := unstable_features(session)) is not None:
            call.notice("warning", warning)
        for mistake in session.settings.hook_warnings:
            call.notice("warning", Warned(thread_id=session.id, message=mistake))
        recorded, model = session.recorded_model, session.settings.model
        if recorded is not None and recorded != model:
            text = (
                f"This session was recorded with model `{recorded}` but is resuming with `{model}`. "
                f"Consider switching back to `{recorded}` as it may affect performance."
            )
            call.notice("warning", Warned(thread_id=session.id, message=text))
        call.notice("thread/status/changed", ThreadStatusChanged(thread_id=session.id, status=session.status))
        if not session.ephemeral and any(getattr(params, name) is not None for name in LASTING):
            # Also for who resumes it next, before there is another turn.
            session.store(session.stored_settings("")[1:])
    response = opened(
        session, ThreadResumeResponse, turns=[] if params.exclude_turns else full_turns(session)
    )
    response.collaboration_mode = mode_of(session)
    if session.writer.stored:
        pager = session.pager
        response.turns_backwards_cursor = pager.last_turn_cursor()
        response.items_backwards_cursor = pager.last_item_cursor()
        if params.initial_turns_page is not None:
            response.initial_turns_page = pager.turns(params.initial_turns_page)
    call.reply(response)
    if session.turns and session.usage.total_tokens and (fresh or not params.exclude_turns):
        tell_usage(session, session.turns[-1].id)
    if session.pursuit.goal is not None:
        session.pursuit.changed()
    else:
        session.pursuit.tell_cleared()
    service.turns.want_goal()
    if fresh:
        service.mcp.start()


async def read(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    turns: list[Turn] = []
    if call.params.include_turns:
        if session.ephemeral:
            raise rpc.RpcError("ephemeral threads do not support includeTurns")
        if not session.turns and not session.preview:
            raise rpc.RpcError("list_turns is not supported yet", rpc.METHOD_UNSUPPORTED)
        if session.history_mode == "paginated":
            call.notice("deprecationNotice", DeprecationNotice(summary=READ_HYDRATION))
        turns = full_turns(session)
    service.learn_name(session)
    unread = session.receipts.get(session.id) if session.writer.stored and not session.ephemeral else None
    call.reply(ThreadReadResponse(thread=thread_of(session, turns=turns), read_state=unread))


def unstable_features(session: Session) -> Warned | None:
    names = session.settings.unstable_features
    if not names:
        return None
    text = UNSTABLE.format(", ".join(names), os.path.join(session.home, "config.toml"))
    return Warned(thread_id=session.id, message=text)
