"""Building turns and their items from the events of a rollout, in either format.

A paginated file names the turn of every item. A legacy file has turns that only user messages mark; they and their
items are numbered as the peer does: turn `rollout-N` for line N, items `item-1`, `item-2`, ...
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.items import ContextCompactionItem, ReasoningItem, ThreadItem, UserMessageItem
from protocol.turns import Turn
from protocol.user_input import TextInput
from rollouts.items import item_of
from rollouts.legacy import ITEM_EVENTS, item_of_event
from rollouts.lines import ItemCompleted, TaskComplete, TaskStarted, TurnAborted, decode_as
from rollouts.policy import error_of
from rollouts.positions import Positions

__all__ = ["TurnBuilder", "preview_of"]


class RolledBack(msgspec.Struct):
    num_turns: int = 0


class TurnBuilder:
    """Fed with `event_msg` payloads in order. `unknown`: items of kinds that cannot be shown."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}
        self._current: Turn | None = None
        self._marked = False  # whether the current turn began with task_started
        self._counted = 0
        self._ordinal: int | None = None
        self.positions = Positions()
        self.unknown = 0
        self.rolled_back = 0

    def feed(
        self, index: int, ordinal: int | None, kind: str, payload: msgspec.Raw, *, paginated: bool
    ) -> None:
        """`index`: the number of the line in its file, from 0; `kind`: the type of the event."""
        self._ordinal = ordinal if paginated else None
        match kind:
            case "item_completed":
                self._item_completed(index, payload)
            case "task_started" | "turn_started":
                self._started(payload)
            case "task_complete" | "turn_complete":
                self._completed(payload)
            case "turn_aborted":
                self._aborted(payload)
            case "error" if not paginated:
                self._failed(payload)
            case "thread_rolled_back":
                self._roll_back(payload)
            case _ if kind in ITEM_EVENTS and not paginated:
                self._legacy_item(index, kind, payload)
            case _:
                pass

    def finish(self) -> list[Turn]:
        """All turns, oldest first. One that has no end in the file is `interrupted`: nobody works at it any more."""
        for turn in self._turns.values():
            turn.items_view = "full"
            if turn.status == "inProgress":
                turn.status = "interrupted"
        return list(self._turns.values())

    @property
    def open_turn_id(self) -> str | None:
        """The turn that has begun (with a line of its own) and not ended."""
        return self._current.id if self._current and self._current.status == "inProgress" else None

    def _open(self, turn_id: str, *, marked: bool) -> Turn:
        turn = Turn(id=turn_id, items=[], status="inProgress" if marked else "completed")
        self._turns[turn_id] = self._current = turn
        self.positions.turn(turn_id, self._ordinal)
        self._marked = marked
        return turn

    def _started(self, payload: msgspec.Raw) -> None:
        event = decode_as(TaskStarted, _retag(payload, "turn_started", "task_started"))
        if event is None or not event.turn_id:
            return
        turn = self._turns.get(event.turn_id) or self._open(event.turn_id, marked=True)
        self._current, self._marked = turn, True
        turn.root_turn_id, turn.started_at = event.root_turn_id, event.started_at

    def _completed(self, payload: msgspec.Raw) -> None:
        event = decode_as(TaskComplete, _retag(payload, "turn_complete", "task_complete"))
        if event is None:
            return
        turn = self._ended(event.turn_id, event)
        if turn is not None and event.error is not None:
            turn.status, turn.error = "failed", error_of(event.error)
        elif turn is not None and turn.status == "inProgress":
            turn.status = "completed"

    def _aborted(self, payload: msgspec.Raw) -> None:
        event = decode_as(TurnAborted, payload)
        turn = self._ended(event.turn_id, event) if event is not None else None
        if turn is not None:
            turn.status = "interrupted"

    def _ended(self, turn_id: str | None, event: TaskComplete | TurnAborted) -> Turn | None:
        turn = self._turns.get(turn_id) if turn_id else self._current
        if turn is not None:
            turn.started_at = event.started_at if turn.started_at is None else turn.started_at
            turn.completed_at, turn.duration_ms = event.completed_at, event.duration_ms
            if turn is self._current:
                self._current = None
        return turn

    def _failed(self, payload: msgspec.Raw) -> None:
        if self._current is not None:
            self._current.status = "failed"
            self._current.error = error_of(decode_as(dict[str, Any], payload))

    def _roll_back(self, payload: msgspec.Raw) -> None:
        event = decode_as(RolledBack, payload)
        for turn_id in list(self._turns)[-event.num_turns :] if event and event.num_turns > 0 else []:
            del self._turns[turn_id]
            self.rolled_back += 1
        self._current = None

    def _item_completed(self, index: int, payload: msgspec.Raw) -> None:
        event = decode_as(ItemCompleted, payload)
        stored = decode_as(dict[str, Any], event.item) if event is not None else None
        if event is None or stored is None:
            self.unknown += 1
            return
        item = item_of(stored, event.started_at_ms, event.completed_at_ms)
        if item is None:
            self.unknown += 1
            return
        turn = self._turns.get(event.turn_id) or self._open(event.turn_id or f"rollout-{index}", marked=True)
        self.positions.item(turn.id, item.id, self._ordinal)
        for place, known in enumerate(turn.items):
            if known.id == item.id and type(known) is type(item):
                turn.items[place] = item
                return
        turn.items.append(item)

    def _legacy_item(self, index: int, kind: str, payload: msgspec.Raw) -> None:
        event = decode_as(dict[str, Any], payload)
        item = item_of_event(event, f"item-{self._counted + 1}")
        if item is None:
            self.unknown += 1
            return
        turn = self._current
        if turn is None or (kind == "user_message" and not self._marked):
            turn = self._open(f"rollout-{index}", marked=False)
        last = turn.items[-1] if turn.items else None
        if isinstance(item, ReasoningItem) and isinstance(last, ReasoningItem):
            last.summary.extend(item.summary)
            last.content.extend(item.content)
            return
        if item.id == f"item-{self._counted + 1}" or isinstance(item, ContextCompactionItem):
            self._counted += 1
        turn.items.append(item)


def preview_of(items: list[ThreadItem]) -> str:
    """The text of the first user message among these items."""
    for item in items:
        if isinstance(item, UserMessageItem):
            text = "".join(part.text for part in item.content if isinstance(part, TextInput))
            if text:
                return text
    return ""


def _retag(payload: msgspec.Raw, old: str, new: str) -> bytes:
    # Between 0.58 and 0.169 these events had two names; there is one struct for both.
    return bytes(payload).replace(f'"{old}"'.encode(), f'"{new}"'.encode(), 1)
