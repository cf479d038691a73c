"""Where a fork or a revert cuts a thread, and what of its lines goes into the new file.

A paginated thread's fork points at the history it goes on from (`HistoryBase`). What cannot be pointed at, the file of
a legacy or into that of an ephemeral thread, is copied.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from rollouts.chain import cut_at, parts_of
from rollouts.errors import TurnNotFound
from rollouts.ids import new_id
from rollouts.layout import Home
from rollouts.lines import (
    EventTag,
    HistoryBase,
    Line,
    TaskStarted,
    decode_as,
    decode_line,
    timestamp,
)
from rollouts.reader import History
from rollouts.writer import RolloutWriter

__all__ = ["Cut", "revert"]

_STARTED = frozenset(("task_started", "turn_started"))


class Cut:
    """A point in a thread: its end, the end of a turn, or the beginning of one.

    Raises:
        TurnNotFound: there is no such turn, or it is still running.
    """

    def __init__(
        self, history: History, *, last_turn_id: str | None = None, before_turn_id: str | None = None
    ) -> None:
        self._history = history
        ids = [turn.id for turn in history.turns]
        self._stop: str | None = None
        """The first turn that is left out; None: none is."""
        if before_turn_id is not None:
            self._stop = _known(before_turn_id, ids)
        elif last_turn_id is not None:
            if history.mode == "legacy" and not self._marked(last_turn_id):
                raise TurnNotFound(
                    f"lastTurnId '{last_turn_id}' is not a persisted canonical turn in the source thread"
                )
            place = ids.index(_known(last_turn_id, ids))
            if last_turn_id == history.open_turn_id:
                raise TurnNotFound(f"lastTurnId '{last_turn_id}' identifies an in-progress turn")
            self._stop = ids[place + 1] if place + 1 < len(ids) else None

    @property
    def open_turn_id(self) -> str | None:
        """The turn before the cut that has not ended."""
        return self._history.open_turn_id if self._stop is None else None

    def base(self) -> HistoryBase | None:
        """Of a paginated thread: what is before the cut; None where that is nothing. Raises RolloutDamaged, OSError."""
        history = self._history
        ordinal = history.next_ordinal if self._stop is None else history.positions.turns.get(self._stop)
        return cut_at(history.path, ordinal or 0)

    def lines(self) -> Iterator[bytes]:
        """What is before the cut, as it stands in the files. Raises RolloutDamaged, OSError."""
        for path, end in parts_of(self._history.path):
            left = end
            with open(path, "rb") as file:
                for raw in file:
                    line = decode_line(raw)
                    if line is not None and self._stop is not None and _starts(line, self._stop):
                        return
                    if left is not None:
                        left -= len(raw)
                        if left < 0:
                            break
                    # A paginated thread has one head, that of its fork; Codex keeps them all in a legacy one.
                    if line is not None and not (line.type == "session_meta" and line.ordinal is not None):
                        yield raw

    def _marked(self, turn_id: str) -> bool:
        with open(self._history.path, "rb") as file:  # a legacy thread has one file
            return any(line is not None and _starts(line, turn_id) for line in map(decode_line, file))


def revert(writer: RolloutWriter, home: Home, cut: Cut) -> RolloutWriter:
    """The next file of a thread, without what is behind the cut; the old one is closed and stays.

    Nothing is written before the new writer's first `append`.

    Raises:
        RolloutDamaged, OSError
    """
    now = time.time()
    meta = msgspec.structs.replace(
        writer.meta,
        timestamp=timestamp(now),
        forked_from_ordinal_exclusive=None,
        history_base=cut.base(),
    )
    path = home.new_path(writer.thread_id, now)
    return writer.succeed(meta, path.with_name(f"{path.stem}_{new_id()}{path.suffix}"))


def _known(turn_id: str, ids: list[str]) -> str:
    if turn_id not in ids:
        raise TurnNotFound(f"turn not found: {turn_id}")
    return turn_id


def _starts(line: Line, turn_id: str) -> bool:
    if line.type != "event_msg":
        return False
    tag = decode_as(EventTag, line.payload)
    if tag is None or tag.type not in _STARTED:
        return False
    event = decode_as(TaskStarted, bytes(line.payload).replace(b'"turn_started"', b'"task_started"', 1))
    return event is not None and event.turn_id == turn_id
