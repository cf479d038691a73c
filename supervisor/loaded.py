"""A loaded thread, as the front sees it: its worker of the moment, its clients, and what is under way."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from config.settings import Limits
from protocol.link import HIBERNATED, Adopt, Command
from supervisor.launcher import Exit, Handle
from supervisor.states import End, EndKind, State, transition

if TYPE_CHECKING:
    from supervisor.compartments import Compartment
    from supervisor.connection import Connection

__all__ = ["Facts", "Incarnation", "LoadedThread", "Pending", "Question", "Turn"]

IDLE_STATUS = b'{"type":"idle"}'


class Facts(msgspec.Struct, rename="camel", kw_only=True):
    """What a worker tells of its thread for operators and for the time when it cannot speak itself."""

    cwd: str = ""
    model: str = ""
    path: str | None = None
    """The rollout, once there is one."""
    preview: str = ""
    ephemeral: bool = False
    name: str = ""
    goal: str = ""
    """The status of its goal, with the reason if it was stopped; empty without one."""
    skill_roots: tuple[str, ...] = ()
    skills_read_at: float = 0.0
    """The folders in which its skills are, and when it looked through them (unix seconds)."""


class Turn(msgspec.Struct, frozen=True):
    id: str
    started_at_ms: int


class Question(msgspec.Struct):
    """A server request without an answer, and its id on each connection."""

    method: str
    params: bytes
    identities: dict[Connection, int] = msgspec.field(default_factory=dict)
    former: list[tuple[Connection, int]] = []
    """Of clients that have left the thread and may answer all the same."""


class Pending(msgspec.Struct):
    """A command whose effect is not in the event log yet: it is sent again to the next incarnation."""

    key: int
    command: Command
    connection: Connection | None
    attaches: bool = False
    """Whether the client hears of the thread from the answer on, if it is no refusal."""


class Incarnation:
    """One worker process of a thread: its part of the stream, its credit, its end."""

    def __init__(self, thread: LoadedThread, handle: Handle, epoch: int, log_path: str) -> None:
        self.thread = thread
        self.handle = handle
        self.epoch = epoch
        self.log_path = log_path
        self.born_at = time.time()
        self.received = 0
        """Bytes of the stream that have come in."""
        self.owed = 0
        """Bytes that the clients took and the worker has no credit for yet."""
        self.credit_timer = False
        self.released: Callable[[int], None] | None = None
        """Gives its credit back; what outboxes call."""
        self.last_heard = time.monotonic()
        self.ping_sent: float | None = None
        self.end_kind: EndKind | None = None
        """Set by whoever ends it, so that the end is told by its cause."""
        self.end_detail = ""
        """Which limit it was, if it was one."""
        self.compartment: Compartment | None = None
        """The control group that holds it to its limits, where there is one."""
        self.idle_since = time.monotonic()
        self.sleep_asked: float | None = None
        """When it was last asked to end because it has nothing to do."""
        self.paused = False
        """Whether an operator has stopped it; a successor is not."""
        self.freezing = asyncio.Lock()
        """Held by whoever stops it or lets it go on (`freezing.py`), or has it dump its stack."""

    def ended(self, exit_: Exit) -> End:
        """How it ended: by its cause, if somebody ended it, else as the system tells it."""
        kind = self.end_kind
        if kind is None:
            self.end_detail = self._over(exit_)
            if self.end_detail:
                kind = EndKind.LIMIT
            elif exit_.code == HIBERNATED:
                kind = EndKind.HIBERNATED
            elif exit_.signal is not None:
                kind = EndKind.CRASHED
            elif exit_.code is not None:
                kind = EndKind.EXITED
            else:
                kind = EndKind.UNKNOWN
        return End(kind, exit_.code, exit_.signal, self.end_detail)

    def _over(self, exit_: Exit) -> str:
        """The limit that the kernel ended it for, in words; empty if for none."""
        limits = self.thread.limits
        if exit_.signal == signal.SIGXCPU and limits.turn_cpu_s:
            return f"turn_cpu_s = {limits.turn_cpu_s:g}, ended by the kernel (SIGXCPU)"
        return self.compartment.over() if self.compartment is not None and exit_.signal is not None else ""


class LoadedThread:
    def __init__(self, thread_id: str, load: int, adopt: Adopt) -> None:
        self.id = thread_id
        self.load = load
        """Which load of this server it is; with the epoch it names an incarnation."""
        self.adopt = adopt
        self.state = State.STARTING
        self.loaded = False
        """Whether the command that loads it was answered with success."""
        self.epoch = 0
        self.incarnation: Incarnation | None = None
        self.subscribers: set[Connection] = set()
        self.status: bytes = IDLE_STATUS
        self.turn: Turn | None = None
        self.turn_began = 0.0
        """Monotonic clock; `silent`: its model has not said a word yet."""
        self.silent = False
        self.pending: dict[int, Pending] = {}
        self.attendance = 0
        """How often a client has attached."""
        self.asked: dict[int, Question] = {}
        """Open server requests, by the worker's key."""
        self.deaths: deque[float] = deque()
        self.last_end: End | None = None
        self.restarts = 0
        self.wakes = 0
        self.asked_for_worker = time.monotonic()
        self.next_start: float | None = None
        """When a dead worker's successor comes (monotonic clock)."""
        self.refused_worker = ""
        """Why there was no process for its next worker, as long as it has none."""
        self.last_stack: int | None = None
        """The process of the last worker that hung: its dump is in the stacks folder."""
        self.draining = False
        self.goes_on = False
        """Whether it has its next worker at once when this one sleeps, since it has turns to begin by itself."""
        self.limits = Limits()
        self.facts = Facts()
        self.named = ""
        """The name that it was given since; its worker knows only the one with which it began."""
        self.created_at = time.time()
        self.unloading = False
        self.gone: asyncio.Future[None] | None = None
        """Done when it is not loaded any more; there is one from the first who wants that."""

    def attach(self, connection: Connection) -> None:
        """The client hears what is said from now on, unless it has gone while its request waited."""
        if connection not in self.subscribers and not connection.detached:
            self.subscribers.add(connection)
            self.attendance += 1

    def move(self, target: State) -> None:
        self.state = transition(self.state, target)
        self.next_start = None

    @property
    def why(self) -> str:
        """The reason of a state that needs one; empty for the others."""
        if self.state is State.QUARANTINED:
            return f"{len(self.deaths)} deaths, last: {self.last_end}"
        if self.state is State.DEAD and self.next_start is not None:
            soon = max(0.0, self.next_start - time.monotonic())
            return f"next start in {soon:.1f} s, last: {self.refused_worker or self.last_end}"
        if self.paused:
            return "paused by operator"
        if self.draining:
            return "draining: no new turns"
        if self.facts.goal:
            return f"goal {self.facts.goal}"
        return ""

    @property
    def paused(self) -> bool:
        """Whether an operator has stopped its worker, and that worker is there."""
        return self.incarnation is not None and self.incarnation.paused

    @property
    def busy(self) -> bool:
        return self.turn is not None
