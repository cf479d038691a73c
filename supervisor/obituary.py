"""What is said and stored for a worker that cannot do it any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from protocol.base import Wire
from protocol.link import Record, records
from protocol.notifications import ErrorNotice, RequestResolved, ThreadStatusChanged, TurnNotice
from protocol.threads import SystemErrorStatus
from protocol.turns import Turn as WireTurn
from protocol.turns import TurnError
from rollouts.failure import append_turn_failure
from rollouts.layout import Home
from rollouts.lease import drop_lease
from supervisor.loaded import Turn
from supervisor.states import End, EndKind

__all__ = [
    "SYSTEM_ERROR",
    "Death",
    "drop_leases",
    "flush",
    "notifications",
    "record",
    "resolved",
    "unheard",
    "with_last_line",
]

LAST_LINE_BYTES, LAST_LINE_CHARS = 4096, 200
SYSTEM_ERROR = msgspec.json.encode(SystemErrorStatus())


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a worker in the middle of a turn."""

    thread_id: str
    turn: Turn
    end: End
    epoch: int
    pid: int
    rollout: str | None
    at: float = msgspec.field(default_factory=time.time)

    @property
    def error(self) -> TurnError:
        how = "stopped" if self.end.kind is EndKind.STOPPED else str(self.end)
        return TurnError(
            message=f"The thread's worker process ended in the middle of the turn: {how}. Its history is kept.",
            codex_error_info="other",
            additional_details=f"epoch {self.epoch}, pid {self.pid}",
        )


def with_last_line(end: End, log_path: str, *, started: bool) -> End:
    """The end of a worker that went by itself, told with the last line it printed.

    `started`: whether it ever said a word. One that did not would fail the same way again.
    """
    if started and not end.exit_code:
        return end
    if end.kind not in (EndKind.CRASHED, EndKind.EXITED, EndKind.UNKNOWN):
        return end
    try:
        with open(log_path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_LINE_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    told = [line.strip() for line in lines if line.strip()]
    detail = "" if not told or " bulkhead: " in told[-1] else told[-1][:LAST_LINE_CHARS]
    return msgspec.structs.replace(end, kind=end.kind if started else EndKind.STARTUP_FAILURE, detail=detail)


def drop_leases(asleep: Iterable[tuple[str, str]]) -> None:
    """The server ends: its sleeping threads (home, id) are anybody's again; blocks."""
    for home, thread_id in asleep:
        drop_lease(Home(home), thread_id)


def unheard(log: bytes, received: int) -> Iterator[tuple[int, int, bytes, int]]:
    """The records of a dead worker's event log that lie behind the first `received` bytes of its stream."""
    first = next(records(log, torn_end=True), None)
    base = first[1] if first is not None and first[0] == Record.ROTATED else 0
    return records(memoryview(log)[max(0, received - base) :], torn_end=True)


def record(death: Death) -> None:
    """Store the failed turn in the rollout; blocks.

    It is not flushed: nobody waits for a disk to hear of a death, and after a power loss the turn would be read as
    interrupted, which is an end too.
    """
    if death.rollout is not None:
        append_turn_failure(Path(death.rollout), death.turn.id, death.error, death.at)


def flush(rollout: str) -> None:
    """Have what was stored on the disk; blocks."""
    with suppress(OSError):
        fd = os.open(rollout, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)


def notifications(death: Death) -> list[tuple[str, Wire]]:
    """The same lines, in the same order, as when a model error ends a turn."""
    completed = int(death.at)
    turn = WireTurn(
        id=death.turn.id,
        root_turn_id=death.turn.id,
        status="failed",
        error=death.error,
        started_at=death.turn.started_at_ms // 1000,
        completed_at=completed,
        duration_ms=max(0, int(death.at * 1000) - death.turn.started_at_ms),
    )
    return [
        ("thread/status/changed", ThreadStatusChanged(thread_id=death.thread_id, status=SystemErrorStatus())),
        (
            "error",
            ErrorNotice(
                error=death.error, will_retry=False, thread_id=death.thread_id, turn_id=death.turn.id
            ),
        ),
        ("turn/completed", TurnNotice(thread_id=death.thread_id, turn=turn)),
    ]


def resolved(thread_id: str, request_id: int) -> RequestResolved:
    return RequestResolved(thread_id=thread_id, request_id=request_id)
