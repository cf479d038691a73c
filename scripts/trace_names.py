"""Translation of ids, cursors and paths of a recording into those of a live run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trace_shape import UUID, paired_strings

RECORDED_USER_HOME = "/home/user"
CURSOR_FIELDS = frozenset(
    {"nextCursor", "backwardsCursor", "turnsBackwardsCursor", "itemsBackwardsCursor", "cursor"}
)


class Names:
    """What the live run calls the things the recording names. One object serves a whole chain of recordings."""

    def __init__(self, user_home: Path) -> None:
        self._user_home = str(user_home)
        self.values: dict[str, str] = {}
        """Whole strings of the recorded client, in place of which others are sent."""
        self._ids: dict[str, str] = {}
        self._cursors: dict[str, str] = {}

    def learn(self, recorded: Any, live: Any) -> None:
        for field, one, other in paired_strings(recorded, live):
            if field in CURSOR_FIELDS:
                self._cursors[one] = other
            elif UUID.fullmatch(one):
                # The first occurrence names it: lists may put what happened in one second in any order.
                self._ids.setdefault(one, other)
        if (
            isinstance(recorded, dict)
            and isinstance(live, dict)
            and "method" in recorded
            and "id" in recorded
        ):
            self._ids[f"request {recorded['id']!r}"] = live["id"]

    def request_id(self, recorded: Any) -> Any:
        """The live id of a server request the recording knows as `recorded`, None if it never came."""
        return self._ids.get(f"request {recorded!r}")

    def rewrite(self, value: Any, field: str = "") -> Any:
        if isinstance(value, dict):
            return {self.text(key): self.rewrite(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.rewrite(item, field) for item in value]
        if isinstance(value, str):
            known = self._cursors.get(value) if field in CURSOR_FIELDS else None
            return self.values.get(value, self.text(value)) if known is None else known
        return value

    def text(self, value: str) -> str:
        renamed = UUID.sub(lambda match: self._ids.get(match[0], match[0]), value)
        return renamed.replace(f"{RECORDED_USER_HOME}/", f"{self._user_home}/")
