"""Where the turns and items of a thread stand in its rollout: by this they are paged."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollouts.entries import ItemEntry
from rollouts.lines import Entry, TaskStarted

__all__ = ["Positions"]

_STARTED = TaskStarted.__struct_config__.tag


class Positions(msgspec.Struct):
    """Ordinals of first lines. A legacy file has no ordinals, so nothing of it is here.

    Attributes:
        turns: By turn id.
        items: By turn id and item id.
    """

    turns: dict[str, int] = {}
    items: dict[tuple[str, str], int] = {}

    def turn(self, turn_id: str, ordinal: int | None) -> None:
        if ordinal is not None:
            self.turns.setdefault(turn_id, ordinal)

    def item(self, turn_id: str, item_id: str, ordinal: int | None) -> None:
        if ordinal is not None:
            self.items.setdefault((turn_id, item_id), ordinal)

    def note(self, entries: Iterable[Entry | ItemEntry], first: int | None) -> None:
        """Entries that were appended, a line each, beginning at ordinal `first`."""
        if first is None:
            return
        for ordinal, entry in enumerate(entries, first):
            if isinstance(entry, ItemEntry):
                self.item(entry.turn_id, entry.item.id, ordinal)
            elif isinstance(entry.payload, dict) and entry.payload.get("type") == _STARTED:
                self.turn(entry.payload["turn_id"], ordinal)
