"""Ending a turn on behalf of a writer that died."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from protocol.turns import TurnError
from rollouts.entries import task_complete, task_started
from rollouts.layout import parse_name
from rollouts.lines import Entry, TaskStarted, decode_as, decode_line
from rollouts.tail import begun, lines_backwards
from rollouts.writer import RolloutWriter

__all__ = ["append_turn_failure"]


class _TurnEvent(msgspec.Struct):
    type: str
    turn_id: str | None = None


_ENDS = frozenset({"task_complete", "turn_aborted"})


def append_turn_failure(path: Path, turn_id: str, error: TurnError, at: float | None = None) -> bool:
    """Stores that the turn failed with `error` at unix seconds `at` (None: now); not flushed to the disk.

    Mends a torn end first. Returns whether the turn is now failed in the file: False if it had ended before the
    writer died, or if the thread was never stored.

    Raises:
        WriterBusy: the writer lives after all.
        RolloutDamaged, OSError
    """
    name = parse_name(path.name)
    if name is None or not path.exists() or not begun(path):
        return False
    now = int(time.time() if at is None else at)
    with RolloutWriter.resume_path(path, name.thread_id) as writer:
        started_at, ended = _search(path, turn_id)
        if ended:
            return False
        lines: list[Entry] = []
        if started_at is None:  # it died before its first line: without one the turn would not be seen at all
            started_at = now
            lines.append(task_started(turn_id, started_at=now))
        duration = max(0, now - started_at) * 1000
        lines.append(
            task_complete(turn_id, started_at=started_at, completed_at=now, duration_ms=duration, error=error)
        )
        writer.append(lines)
    return True


def _search(path: Path, turn_id: str) -> tuple[int | None, bool]:
    """When the turn started (None: it did not), and whether it has ended."""
    mark = turn_id.encode()
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for raw in lines_backwards(fd):
            if mark not in raw:
                continue
            line = decode_line(raw)
            event = decode_as(_TurnEvent, line.payload) if line and line.type == "event_msg" else None
            if line is None or event is None or event.turn_id != turn_id:
                continue
            if event.type in _ENDS:
                return None, True
            started = decode_as(TaskStarted, line.payload)
            if started is not None:
                return started.started_at or 0, False
    finally:
        os.close(fd)
    return None, False
