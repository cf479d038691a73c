"""What the front does with whole threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocol.link_calls import Naming, OnlyLook
from protocol.notifications import ThreadNamed, ThreadReference
from protocol.rpc import RpcError
from protocol.thread_list import ThreadLoadedListParams, ThreadLoadedListResponse
from protocol.threads import (
    ThreadArchiveParams,
    ThreadArchiveResponse,
    ThreadDeleteParams,
    ThreadDeleteResponse,
    ThreadMetadataUpdateParams,
    ThreadMetadataUpdateResponse,
    ThreadSetNameParams,
    ThreadSetNameResponse,
    ThreadUnarchiveParams,
    ThreadUnarchiveResponse,
    ThreadUnsubscribeParams,
    ThreadUnsubscribeResponse,
)
from rollouts.ids import canonical_id
from supervisor.afterwards import after
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
    thread = front.loaded(params.thread_id)
    if thread is not None and thread.facts.ephemeral:
        raise RpcError(f"no rollout found for thread id {thread.id}")
    if thread is not None:
        await front.unload(thread, materialize=True)
    await front.catalog.call("thread/archive", params)
    told = ThreadReference(thread_id=canonical_id(params.thread_id))
    after(lambda: front.tell_all("thread/archived", told, told.thread_id))
    return ThreadArchiveResponse()


async def delete(front: Front, connection: Connection, params: ThreadDeleteParams) -> ThreadDeleteResponse:
    """What is in the way of it is found out while the thread is still loaded."""
    thread = front.loaded(params.thread_id)
    if thread is not None and thread.facts.ephemeral:
        raise RpcError(f"thread is not persisted and cannot be deleted: {thread.id}")
    await front.catalog.call("thread/delete", params, OnlyLook(only_look=True))
    if thread is not None:
        await front.unload(thread)
    await front.catalog.call("thread/delete", params)
    told = ThreadReference(thread_id=canonical_id(params.thread_id))
    after(lambda: front.tell_all("thread/deleted", told, told.thread_id))
    return ThreadDeleteResponse()


def unsubscribe(
    front: Front, connection: Connection, params: ThreadUnsubscribeParams
) -> ThreadUnsubscribeResponse:
    """The thread goes on for others; without any it is unloaded after a while (`supervisor.idle`)."""
    thread = front.loaded(params.thread_id)
    if thread is None:
        return ThreadUnsubscribeResponse(status="notLoaded")
    if not front.supervisor.unsubscribe(thread, connection):
        return ThreadUnsubscribeResponse(status="notSubscribed")
    return ThreadUnsubscribeResponse(status="unsubscribed")


async def update_metadata(
    front: Front, connection: Connection, params: ThreadMetadataUpdateParams
) -> ThreadMetadataUpdateResponse:
    _refuse_ephemeral(front, params.thread_id)
    raw = await front.catalog.call("thread/metadata/update", params, front.statuses())
    return msgspec.json.decode(raw, type=ThreadMetadataUpdateResponse)


async def unarchive(
    front: Front, connection: Connection, params: ThreadUnarchiveParams
) -> ThreadUnarchiveResponse:
    raw = await front.catalog.call("thread/unarchive", params)
    told = ThreadReference(thread_id=canonical_id(params.thread_id))
    after(lambda: front.tell_all("thread/unarchived", told, told.thread_id))
    return msgspec.json.decode(raw, type=ThreadUnarchiveResponse)


async def set_name(
    front: Front, connection: Connection, params: ThreadSetNameParams
) -> ThreadSetNameResponse:
    name = params.name.strip()
    if not name:
        raise RpcError("thread name must not be empty")
    _refuse_ephemeral(front, params.thread_id)
    loaded = front.loaded(params.thread_id) is not None
    await front.catalog.call("thread/name/set", params, Naming(loaded=loaded))
    thread = front.loaded(params.thread_id)
    if thread is not None:
        thread.named = thread.facts.name = name
    told = ThreadNamed(thread_id=canonical_id(params.thread_id), thread_name=name)
    after(lambda: front.tell_all("thread/name/updated", told, told.thread_id))
    return ThreadSetNameResponse()


def _refuse_ephemeral(front: Front, thread_id: str) -> None:
    thread = front.loaded(thread_id)
    if thread is not None and thread.facts.ephemeral:
        raise RpcError(f"ephemeral thread does not support metadata updates: {thread.id}")
