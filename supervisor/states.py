"""The states of a thread's worker and the ways it can end.

                  launch            hello/adopt          turn                 turn ends
    (none) ─────────────► starting ─────────────► idle ◄──────────► busy
                              ▲                     │                 │
                 respawn      │                     └───── stopping ◄─┘   (archive, shutdown, operator)
                              │                               │
                            dead ◄────────────────────────────┘
                              │  too many deaths in the window
                              ▼
                         quarantined ── released by an operator ──► starting

`hibernated`: an idle thread's worker has ended, and the next request gives it another one: idle -> dead ->
hibernated -> starting. `draining`: the turn under way is the last. `parked` is a worker that belongs to no thread yet. The same words stand in `bulkhead ps`, the logs and the metrics.
"""

from __future__ import annotations

import signal
from enum import StrEnum

import msgspec

__all__ = ["End", "EndKind", "IllegalTransition", "State", "transition"]


class State(StrEnum):
    PARKED = "parked"
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    STOPPING = "stopping"
    HIBERNATED = "hibernated"
    QUARANTINED = "quarantined"
    DEAD = "dead"


_S = State
_LEGAL: dict[State, frozenset[State]] = {
    _S.PARKED: frozenset({_S.STARTING, _S.DEAD}),
    _S.STARTING: frozenset({_S.IDLE, _S.BUSY, _S.STOPPING, _S.DEAD}),
    _S.IDLE: frozenset({_S.BUSY, _S.DRAINING, _S.STOPPING, _S.HIBERNATED, _S.DEAD}),
    _S.BUSY: frozenset({_S.IDLE, _S.DRAINING, _S.STOPPING, _S.DEAD}),
    _S.DRAINING: frozenset({_S.IDLE, _S.BUSY, _S.STOPPING, _S.HIBERNATED, _S.DEAD}),
    _S.STOPPING: frozenset({_S.DEAD}),
    _S.HIBERNATED: frozenset({_S.STARTING, _S.DEAD}),
    _S.QUARANTINED: frozenset({_S.STARTING, _S.DEAD}),
    _S.DEAD: frozenset({_S.STARTING, _S.QUARANTINED, _S.HIBERNATED}),
}


class IllegalTransition(RuntimeError):
    """A change of state that the picture above does not have: a bug of ours."""


def transition(current: State, target: State) -> State:
    """The only way from one state to another."""
    if target is current:
        return current
    if target not in _LEGAL[current]:
        raise IllegalTransition(f"{current} -> {target}")
    return target


class EndKind(StrEnum):
    EXITED = "exited"
    CRASHED = "crashed"
    OOM_KILLED = "oom-killed"
    HUNG = "hung"
    KILLED = "killed by operator"
    STOPPED = "stopped"
    STARTUP_FAILURE = "start-up failure"
    HIBERNATED = "hibernated"
    LIMIT = "over a limit"
    UNKNOWN = "unknown"


class End(msgspec.Struct, frozen=True):
    """How one incarnation ended. `counts`: whether it counts towards quarantine. `detail`: what else is known."""

    kind: EndKind
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""

    @property
    def counts(self) -> bool:
        return self.kind not in (EndKind.KILLED, EndKind.STOPPED, EndKind.HIBERNATED)

    def __str__(self) -> str:
        if self.kind is EndKind.LIMIT:
            return f"{self.kind}: {self.detail}"
        how = ""
        if self.signal is not None:
            how = f" ({signal_name(self.signal)})"
        elif self.exit_code is not None and self.kind in (EndKind.EXITED, EndKind.STARTUP_FAILURE):
            how = f" (code {self.exit_code})"
        return f"{self.kind}{how}: {self.detail}" if self.detail else f"{self.kind}{how}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
