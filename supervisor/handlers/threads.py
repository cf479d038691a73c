"""What the front does with whole threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocol.notifications import ThreadNamed, ThreadReference, ThreadStatusChanged
from protocol.rpc import RpcError
from protocol.threads import (
    NotLoadedStatus,
    ThreadArchiveParams,
    ThreadArchiveResponse,
    ThreadLoadedListParams,
    ThreadLoadedListResponse,
    ThreadSetNameParams,
    ThreadSetNameResponse,
    ThreadUnarchiveParams,
    ThreadUnarchiveResponse,
)
from supervisor.connection import Connection

if TYPE_CHECKING:
    from supervisor.front import Front


def loaded_list(
    front: Front, connection: Connection, params: ThreadLoadedListParams
) -> ThreadLoadedListResponse:
    """Loaded threads by id, which is by age; the cursor is the last id of the page before."""
    ids = sorted(thread.id for thread in front.supervisor.threads.values() if thread.loaded)
    if params.cursor is not None:
        front.check_id(params.cursor, f"invalid cursor: {params.cursor}")
        ids = [identity for identity in ids if identity > params.cursor]
    limit = max(1, params.limit) if params.limit is not None else len(ids)
    page = ids[:limit]
    return ThreadLoadedListResponse(data=page, next_cursor=page[-1] if len(ids) > limit else None)


async def archive(front: Front, connection: Connection, params: ThreadArchiveParams) -> ThreadArchiveResponse:
    thread = front.supervisor.threads.get(params.thread_id)
    if thread is not None:
        audience = set(thread.subscribers)
        await front.supervisor.unload(thread, materialize=True)
        closed = ThreadStatusChanged(thread_id=thread.id, status=NotLoadedStatus())
        for subscriber in audience:
            subscriber.notify("thread/status/changed", closed, thread.id)
    await front.catalog.call("thread/archive", params)
    told = ThreadReference(thread_id=params.thread_id)
    front.after(lambda: front.tell_all("thread/archived", told, params.thread_id))
    return ThreadArchiveResponse()


async def unarchive(
    front: Front, connection: Connection, params: ThreadUnarchiveParams
) -> ThreadUnarchiveResponse:
    raw = await front.catalog.call("thread/unarchive", params)
    told = ThreadReference(thread_id=params.thread_id)
    front.after(lambda: front.tell_all("thread/unarchived", told, params.thread_id))
    return msgspec.json.decode(raw, type=ThreadUnarchiveResponse)


async def set_name(
    front: Front, connection: Connection, params: ThreadSetNameParams
) -> ThreadSetNameResponse:
    name = params.name.strip()
    if not name:
        raise RpcError("thread name must not be empty")
    loaded = params.thread_id in front.supervisor.threads
    await front.catalog.call("thread/name/set", params, {"loaded": loaded})
    thread = front.supervisor.threads.get(params.thread_id)
    if thread is not None:
        thread.facts.name = name
    told = ThreadNamed(thread_id=params.thread_id, thread_name=name)
    front.after(lambda: front.tell_all("thread/name/updated", told, params.thread_id))
    return ThreadSetNameResponse()
