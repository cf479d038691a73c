"""Pages of a thread's turns and items, and the requests for them.

Cursors are opaque to clients: JSON text that names a place and whether it belongs to the page.
"""

from __future__ import annotations

from typing import Literal

from protocol.base import UNSET, Absent, Params, Wire
from protocol.constraints import Unsigned32
from protocol.items import ThreadItem
from protocol.turns import ItemsView, Turn

__all__ = [
    "InitialTurnsPage",
    "ItemAnchor",
    "ItemOutputDeferral",
    "PageLimit",
    "SortDirection",
    "ThreadItemEntry",
    "ThreadItemsListParams",
    "ThreadItemsListResponse",
    "ThreadItemsReadParams",
    "ThreadItemsReadResponse",
    "ThreadTurnsListParams",
    "ThreadTurnsListResponse",
    "TurnsPage",
]

SortDirection = Literal["asc", "desc"]
PageLimit = Unsigned32


class InitialTurnsPage(Params, kw_only=True):
    """The page of `thread/turns/list` that `thread/resume` is to bring along."""

    items_view: ItemsView | None = None
    limit: PageLimit | None = None
    sort_direction: SortDirection | None = None


class ThreadTurnsListParams(Params, kw_only=True):
    thread_id: str
    cursor: str | None = None
    items_view: ItemsView | None = None
    limit: PageLimit | None = None
    sort_direction: SortDirection | None = None


class TurnsPage(Wire, kw_only=True):
    data: list[Turn]
    next_cursor: str | None = None
    backwards_cursor: str | None = None


class ThreadTurnsListResponse(TurnsPage, kw_only=True):
    pass


class ItemAnchor(Params, kw_only=True, tag_field="type", tag="item"):
    """The place behind (descending: before) an item of the turn that is asked for."""

    item_id: str


class ItemOutputDeferral(Params, kw_only=True):
    """Which outputs of a single turn's items the client fetches itself, with `thread/items/read`."""

    command_execution: bool = False
    mcp_tool_call: bool = False


class ThreadItemsListParams(Params, kw_only=True):
    thread_id: str
    cursor: str | ItemAnchor | None = None
    defer_output: ItemOutputDeferral | None = None
    limit: PageLimit | None = None
    sort_direction: SortDirection | None = None
    turn_id: str | None = None


class ThreadItemEntry(Wire, kw_only=True):
    """`*_ms` in unix milliseconds. `output_deferred`: the item's output was left out as the client wished."""

    turn_id: str
    item: ThreadItem
    output_deferred: bool | Absent = UNSET
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class ThreadItemsListResponse(Wire, kw_only=True):
    data: list[ThreadItemEntry]
    next_cursor: str | None = None
    backwards_cursor: str | None = None


class ThreadItemsReadParams(Params, kw_only=True):
    """1 to 100 items of one turn, whole."""

    thread_id: str
    turn_id: str
    item_ids: list[str]


class ThreadItemsReadResponse(Wire, kw_only=True):
    data: list[ThreadItemEntry]
