"""Pages of a thread's turns and items.

A cursor of a paginated thread names an ordinal of its rollout, one of a legacy thread a turn. Its text is the peer's,
so that a client may keep it while the thread goes from one program to the other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec

from protocol.history import (
    InitialTurnsPage,
    ItemAnchor,
    ItemOutputDeferral,
    ThreadItemEntry,
    ThreadItemsListParams,
    ThreadItemsListResponse,
    ThreadTurnsListParams,
    TurnsPage,
)
from protocol.items import AgentMessageItem, CommandExecutionItem, ThreadItem, UserMessageItem
from protocol.turns import ItemsView, Turn
from rollouts.errors import InvalidListParams, UnservedListParams
from rollouts.positions import Positions

__all__ = ["Pager"]

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
"""Both as in lists of threads."""

T = TypeVar("T")


class _Scope(msgspec.Struct):
    kind: Literal["turns", "itemsByCreatedAtOrdinal"]


class _Place(msgspec.Struct, rename="camel"):
    """A cursor of a paginated thread."""

    requested_thread_id: str
    rollout_ordinal: int
    include_anchor: bool
    scope: _Scope


class _TurnPlace(msgspec.Struct, rename="camel"):
    """A cursor of a legacy thread."""

    turn_id: str
    include_anchor: bool


_TURNS, _ITEMS = _Scope("turns"), _Scope("itemsByCreatedAtOrdinal")


class Pager:
    """The turns of one thread, oldest first, and where they stand. Makes nothing but pages; holds no copies."""

    def __init__(
        self, thread_id: str, turns: Sequence[Turn], positions: Positions, *, paginated: bool
    ) -> None:
        self._thread_id = thread_id
        self._turns = turns
        self._positions = positions
        self._paginated = paginated

    # --- turns ---------------------------------------------------------------------------------------------------

    def turns(self, params: ThreadTurnsListParams | InitialTurnsPage) -> TurnsPage:
        """Newest first unless asked otherwise.

        Raises:
            InvalidListParams: `invalid cursor: X`.
        """
        descending = (params.sort_direction or "desc") == "desc"
        cursor = getattr(params, "cursor", None)
        if self._paginated:
            keys = [self._turn_ordinal(turn) for turn in self._turns]
            place = None if cursor is None else self._parse(cursor, _TURNS)
            at = None if place is None else (place.rollout_ordinal, place.include_anchor)
        else:
            keys = list(range(len(self._turns)))
            at = None if cursor is None else self._parse_turn(cursor)
        page, more = _cut(self._turns, keys, at, params.limit, descending=descending)
        view = params.items_view or "summary"
        return TurnsPage(
            data=[_viewed(turn, view) for turn in page],
            next_cursor=self._turn_cursor(page[-1], include=False) if more else None,
            backwards_cursor=self._turn_cursor(page[0], include=True) if page else None,
        )

    def last_turn_cursor(self) -> str | None:
        """For paging backwards from the newest turn, which is on the first page."""
        return self._turn_cursor(self._turns[-1], include=True) if self._paginated and self._turns else None

    def _turn_ordinal(self, turn: Turn) -> int:
        return self._positions.turns.get(turn.id, 0)

    def _turn_cursor(self, turn: Turn, *, include: bool) -> str:
        if not self._paginated:
            return _text(_TurnPlace(turn.id, include))
        return _text(_Place(self._thread_id, self._turn_ordinal(turn), include, _TURNS))

    def _parse_turn(self, text: str) -> tuple[int, bool]:
        place = _decode(text, _TurnPlace)
        for index, turn in enumerate(self._turns):
            if turn.id == place.turn_id:
                return index, place.include_anchor
        raise _invalid(text)

    def _parse(self, text: str, scope: _Scope) -> _Place:
        place = _decode(text, _Place)
        if place.requested_thread_id != self._thread_id or place.scope != scope:
            raise _invalid(text)
        return place

    # --- items ---------------------------------------------------------------------------------------------------

    def items(self, params: ThreadItemsListParams) -> ThreadItemsListResponse:
        """Oldest first unless asked otherwise. Only for a paginated thread.

        Raises:
            InvalidListParams: `invalid cursor: X`, or an item that is not there.
        """
        rows = self._rows(params.turn_id)
        page, more = _cut(
            rows,
            [ordinal for ordinal, _, _ in rows],
            self._item_place(params, rows),
            params.limit,
            descending=params.sort_direction == "desc",
        )
        defer = params.defer_output if params.turn_id else None
        return ThreadItemsListResponse(
            data=[_entry(turn_id, item, defer) for _, turn_id, item in page],
            next_cursor=self._item_cursor(page[-1][0], include=False) if more else None,
            backwards_cursor=self._item_cursor(page[0][0], include=True) if page else None,
        )

    def read(self, turn_id: str, item_ids: Sequence[str]) -> list[ThreadItemEntry]:
        """These items of a turn, whole, in the turn's order; what is not there is left out."""
        wanted = set(item_ids)
        return [_entry(turn_id, item, None) for _, _, item in self._rows(turn_id) if item.id in wanted]

    def last_item_cursor(self) -> str | None:
        rows = self._rows(None) if self._paginated else []
        return self._item_cursor(rows[-1][0], include=True) if rows else None

    def _rows(self, turn_id: str | None) -> list[tuple[int, str, ThreadItem]]:
        """(ordinal, turn id, item), oldest first. An item may come after later turns have begun."""
        at = self._positions.items
        rows = [
            (at.get((turn.id, item.id), 0), turn.id, item)
            for turn in self._turns
            if turn_id is None or turn.id == turn_id
            for item in turn.items
        ]
        rows.sort(key=lambda row: row[0])
        return rows

    def _item_place(
        self, params: ThreadItemsListParams, rows: list[tuple[int, str, ThreadItem]]
    ) -> tuple[int, bool] | None:
        cursor = params.cursor
        if isinstance(cursor, ItemAnchor):
            if not params.turn_id:
                raise UnservedListParams("turnId is required when cursor is an item anchor")
            for ordinal, _, item in rows:
                if item.id == cursor.item_id:
                    return ordinal, False
            raise UnservedListParams("cursor.itemId does not identify an item in the requested history scope")
        if cursor is None:
            return None
        place = self._parse(cursor, _ITEMS)
        return place.rollout_ordinal, place.include_anchor

    def _item_cursor(self, ordinal: int, *, include: bool) -> str:
        return _text(_Place(self._thread_id, ordinal, include, _ITEMS))


def _cut(
    rows: Sequence[T],
    keys: list[int],
    at: tuple[int, bool] | None,
    limit: int | None,
    *,
    descending: bool,
) -> tuple[list[T], bool]:
    """The rows from a place on, and whether there are more behind them. `keys` of the rows ascend."""
    size = min(max(DEFAULT_LIMIT if limit is None else limit, 1), MAX_LIMIT)
    if descending:
        end = len(rows) if at is None else (bisect_right if at[1] else bisect_left)(keys, at[0])
        start = max(0, end - size)
        return list(rows[start:end])[::-1], start > 0
    start = 0 if at is None else (bisect_left if at[1] else bisect_right)(keys, at[0])
    return list(rows[start : start + size]), start + size < len(rows)


def _viewed(turn: Turn, view: ItemsView) -> Turn:
    items: list[ThreadItem] = []
    if view == "full":
        items = turn.items
    elif view == "summary":
        items += [item for item in turn.items if isinstance(item, UserMessageItem)][:1]
        items += [item for item in turn.items if isinstance(item, AgentMessageItem)][-1:]
    return msgspec.structs.replace(turn, items=items, items_view=view)


def _entry(turn_id: str, item: ThreadItem, defer: ItemOutputDeferral | None) -> ThreadItemEntry:
    entry = ThreadItemEntry(
        turn_id=turn_id,
        item=item,
        started_at_ms=item.started_at_ms,
        completed_at_ms=item.completed_at_ms,
    )
    if (
        defer is not None
        and defer.command_execution
        and isinstance(item, CommandExecutionItem)
        and item.status == "completed"
        and item.aggregated_output
    ):
        entry.item = msgspec.structs.replace(item, aggregated_output=None)
        entry.output_deferred = True
    return entry


def _text(cursor: _Place | _TurnPlace) -> str:
    return msgspec.json.encode(cursor).decode()


def _decode(text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise _invalid(text) from None


def _invalid(text: str) -> InvalidListParams:
    return InvalidListParams(f"invalid cursor: {text}")
