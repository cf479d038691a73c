"""Stored threads: listed, read, moved, named."""

from __future__ import annotations

from protocol.base import Wire
from protocol.link_calls import Naming, OnlyLook
from protocol.notifications import DeprecationNotice
from protocol.thread_list import ThreadListParams
from protocol.threads import (
    ThreadArchiveParams,
    ThreadArchiveResponse,
    ThreadDeleteParams,
    ThreadDeleteResponse,
    ThreadReadParams,
    ThreadReadResponse,
    ThreadSetNameParams,
    ThreadSetNameResponse,
    ThreadStatus,
    ThreadUnarchiveParams,
    ThreadUnarchiveResponse,
)
from workers.stored.request import StoredRequest

__all__ = ["READ_HYDRATION", "archive", "delete", "list_", "read", "set_name", "unarchive"]

READ_HYDRATION = (
    "Full-history hydration is deprecated for paginated threads; omit `includeTurns` or set it to `false`, "
    "then page with `thread/turns/list` and `thread/items/list`."
)


def list_(request: StoredRequest) -> Wire:
    return request.threads.list(request.params(ThreadListParams), request.context(dict[str, ThreadStatus]))


def read(request: StoredRequest) -> Wire:
    params = request.params(ThreadReadParams)
    thread = request.threads.read(params.thread_id, include_turns=params.include_turns)
    if params.include_turns and thread.history_mode == "paginated":
        request.notice("deprecationNotice", DeprecationNotice(summary=READ_HYDRATION))
    return ThreadReadResponse(thread=thread, read_state=request.threads.receipts.get(thread.id))


def delete(request: StoredRequest) -> Wire:
    request.threads.delete(
        request.params(ThreadDeleteParams).thread_id, only_look=request.context(OnlyLook).only_look
    )
    return ThreadDeleteResponse()


def archive(request: StoredRequest) -> Wire:
    request.threads.archive(request.params(ThreadArchiveParams).thread_id)
    return ThreadArchiveResponse()


def unarchive(request: StoredRequest) -> Wire:
    thread = request.threads.unarchive(request.params(ThreadUnarchiveParams).thread_id)
    return ThreadUnarchiveResponse(thread=thread)


def set_name(request: StoredRequest) -> Wire:
    params = request.params(ThreadSetNameParams)
    stored = not request.context(Naming).loaded
    request.threads.set_name(params.thread_id, params.name, stored=stored)
    return ThreadSetNameResponse()
