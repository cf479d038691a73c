"""A loaded thread, as the front sees it: its worker of the moment, its clients, and what is under way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from protocol.link import Adopt, Command
from supervisor.launcher import Handle
from supervisor.states import End, EndKind, State, transition

if TYPE_CHECKING:
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


class Turn(msgspec.Struct, frozen=True):
    id: str
    started_at_ms: int


class Question(msgspec.Struct):
    """A server request without an answer, and its id on each connection."""

    method: str
    params: bytes
    identities: dict[Connection, int] = msgspec.field(default_factory=dict)


class Pending(msgspec.Struct):
    """A command whose effect is not in the event log yet: it is sent again to the next incarnation."""

    key: int
    command: Command
    connection: Connection | None


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
        self.last_heard = time.monotonic()
        self.ping_sent: float | None = None
        self.end_kind: EndKind | None = None
        """Set by whoever ends it, so that the end is told by its cause."""
        self.stack_dumped = False


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
        self.pending: dict[int, Pending] = {}
        self.attendance = 0
        """How often a client has attached."""
        self.asked: dict[int, Question] = {}
        """Open server requests, by the worker's key."""
        self.deaths: deque[float] = deque()
        self.last_end: End | None = None
        self.restarts = 0
        self.facts = Facts()
        self.created_at = time.time()
        self.unloading = False
        self.unloaded: Callable[[], None] | None = None

    def move(self, target: State) -> None:
        self.state = transition(self.state, target)

    @property
    def busy(self) -> bool:
        return self.turn is not None
