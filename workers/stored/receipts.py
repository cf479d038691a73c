"""Marking a stored thread as read or unread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from protocol.base import Wire
from protocol.receipts import ThreadReadStateUpdateParams, ThreadReadStateUpdateResponse
from protocol.rpc import RpcError
from rollouts.errors import ReadStateConflict
from workers.stored.request import StoredRequest

__all__ = ["conflict", "update"]


def update(request: StoredRequest) -> Wire:
    params = request.params(ThreadReadStateUpdateParams)
    thread = request.threads.read(params.thread_id)
    with conflict():
        state = request.threads.receipts.mark(thread.id, params.expected_revision, read=params.operation.read)
    return ThreadReadStateUpdateResponse(read_state=state)


@contextmanager
def conflict() -> Iterator[None]:
    """A conflict as an answer that brings the present state along."""
    try:
        yield
    except ReadStateConflict as error:
        data = {"reason": "readStateConflict", "readState": error.state}
        raise RpcError(str(error), data=data) from None
