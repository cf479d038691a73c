"""The turns of threads that were read lately, so that paging through a long thread reads its file once."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import msgspec

from protocol.turns import Turn
from rollouts.positions import Positions
from rollouts.reader import read_history

__all__ = ["RecentTurns", "StoredTurns"]

KEPT_BYTES = 32 * 1024 * 1024
"""Of rollouts; their turns take about as much again. What is larger alone is read anew for each page."""


class StoredTurns(msgspec.Struct, frozen=True):
    """Full turns, oldest first, and where they stand."""

    turns: list[Turn]
    positions: Positions
    paginated: bool


class RecentTurns:
    """Least recently used first. A file that has changed since is read again."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._known: OrderedDict[Path, tuple[tuple[int, int, int], StoredTurns]] = OrderedDict()

    def get(self, path: Path) -> StoredTurns:
        """Raises RolloutDamaged, OSError."""
        stat = path.stat()
        stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known = self._known.pop(path, None)
        if known is None or known[0] != stamp:
            history = read_history(path)
            known = stamp, StoredTurns(history.turns, history.positions, history.mode == "paginated")
        if stat.st_size <= self._kept_bytes:
            self._known[path] = known
            while sum(size for (_, size, _), _ in self._known.values()) > self._kept_bytes:
                self._known.popitem(last=False)
        return known[1]
