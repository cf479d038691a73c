"""Pages of a stored thread's turns and items."""

from __future__ import annotations

from protocol.base import Wire
from protocol.history import (
    ThreadItemsListParams,
    ThreadItemsReadParams,
    ThreadItemsReadResponse,
    ThreadTurnsListParams,
)
from protocol.rpc import INVALID_PARAMS, METHOD_UNSUPPORTED, RpcError
from rollouts.errors import RolloutNotFound
from rollouts.pages import MAX_LIMIT, Pager
from workers.stored.request import StoredRequest

__all__ = ["check_item_ids", "items_list", "items_read", "no_items", "turns_list"]


def turns_list(request: StoredRequest) -> Wire:
    params = request.params(ThreadTurnsListParams)
    pager, _ = request.threads.pager(params.thread_id)
    return pager.turns(params)


def items_list(request: StoredRequest) -> Wire:
    params = request.params(ThreadItemsListParams)
    return _with_items(request, params.thread_id).items(params)


def items_read(request: StoredRequest) -> Wire:
    params = request.params(ThreadItemsReadParams)
    check_item_ids(params.item_ids)
    pager = _with_items(request, params.thread_id)
    return ThreadItemsReadResponse(data=pager.read(params.turn_id, params.item_ids))


def no_items() -> RpcError:
    """For a thread whose items have no places: a legacy, ephemeral or unknown one. The text is the peer's."""
    return RpcError("thread/items/list is not supported yet", METHOD_UNSUPPORTED)


def check_item_ids(item_ids: list[str]) -> None:
    if not 1 <= len(item_ids) <= MAX_LIMIT:
        raise RpcError(f"itemIds must have 1 to {MAX_LIMIT} entries", INVALID_PARAMS)


def _with_items(request: StoredRequest, thread_id: str) -> Pager:
    try:
        pager, paginated = request.threads.pager(thread_id)
    except RolloutNotFound:
        raise no_items() from None
    if not paginated:
        raise no_items()
    return pager
