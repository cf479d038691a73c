"""The wire between front and worker: frames on a ROUTER/DEALER pair, and the stream inside them.

A frame is `head | payload`, head = kind (u8) and a number (u64), little endian. What a worker says to clients is
one ordered *stream of records*, appended to the incarnation's event log before it is sent: the frame STREAM carries
a piece of that stream and, as its number, the offset of its first byte. So after a worker's death the front reads
from the log exactly what the socket did not bring any more. Everything else is control: it is not in the stream,
costs no credit and never queues behind it.

What must not be torn apart by a death is one record: a turn begins with its reply and ends with its last line.

A record is `kind (u8) | key (u64) | length (u32) | payload`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

import msgspec

__all__ = [
    "HEAD",
    "HIBERNATED",
    "RECORD",
    "WATCH_SKILLS",
    "WIRE",
    "Adopt",
    "Command",
    "Frame",
    "Record",
    "TornRecord",
    "pack_frame",
    "pack_record",
    "records",
    "unpack_frame",
]

WIRE = 2
"""Which form of all this: counted up with each change that the other side would misread. A zygote of other code than the
server's tells its own, and none of its workers is taken if it is another (`bulkhead replace` after an upgrade)."""
HEAD = struct.Struct("<BQ")
RECORD = struct.Struct("<BQI")


WATCH_SKILLS = "skills/watch"
"""What the front asks of a host worker of its own: `{"roots": [...]}`. No client can ask for it."""
HIBERNATED = 74
"""The exit code of a worker that ended because it had nothing to do, on a SLEEP."""


class Frame(IntEnum):
    """Kinds of frames; the number in the head is given in brackets."""

    # worker to front
    HELLO = 1  # [pid] the worker is connected and parked
    STREAM = 2  # [offset] records
    PONG = 3  # [ping number] the loop of the worker turns
    CALL = 4  # [call, 0: no answer is wanted] the worker asks the front for something that only the front may hold
    # front to worker
    ADOPT = 16  # [epoch] become the worker of a thread: `Adopt`
    COMMAND = 17  # [key] a client's request: `Command`
    CREDIT = 18  # [bytes] so much of the stream reached the clients
    PING = 19  # [ping number]
    ANSWER = 20  # [key] a client's answer to a server request: raw `{"result"...}` or `{"error"...}`
    RETURN = 21  # [call] the answer to a CALL
    STOP = 22  # [deadline in ms] a `StopOrder`: interrupt the turn, store everything, end
    SLEEP = (
        23  # [0] store everything and end with `HIBERNATED`, if nothing would be lost; else nothing happens
    )
    SKILLS = 25  # [0] files of skills have changed
    HOLD = 24  # [1: begin no turns by yourself from now on; 0: do] for the time of a drain or a replacement
    RELOAD = 26  # [0] MCP servers are to be those of this configuration (its layers) from now on


class Record(IntEnum):
    """Kinds of records; what the key means is given in brackets."""

    EVENTS = 1  # [0] finished notification lines for all clients of the thread (of a host worker: for its one client)
    REPLY = 2  # [command] the finished line that answers a command
    NOTICE = 3  # [command] notification lines for the client of that command alone
    REQUEST = 4  # [request] a server request: method, newline, params
    RESOLVED = 5  # [request] that request needs no answer any more
    ACCEPTED = 6  # [command, 0: the thread begins it by itself] as REPLY, and a turn has begun: id, space, unix ms, newline, line
    STATUS = 7  # [0] the thread's status, as on the wire
    ROTATED = 8  # [offset] the log was begun anew here: everything before had reached the clients
    FACTS = 9  # [0] what operators see of the thread: cwd, model, rollout path (JSON)
    ENDED = 10  # [0] as EVENTS, and the turn has ended


class TornRecord(ValueError):
    """A stream ends in the middle of a record (legal only at the end of a dead worker's log)."""


class StopOrder(msgspec.Struct, frozen=True):
    """`materialize`: leave a file even of a thread without turns. `last`: the thread gets no next worker.

    `recovered`: not before it has the thread that it was woken for, or it could neither store it nor take its lease back.
    """

    materialize: bool = False
    last: bool = False
    recovered: bool = False


class Adopt(msgspec.Struct, kw_only=True):
    """What a parked worker needs to become somebody."""

    role: str
    """`thread`, `catalog` or `host`."""
    thread_id: str = ""
    epoch: int = 0
    home: str = ""
    event_log: str = ""
    scratch: str = ""
    """Folder of the server for what must not outlive it: rollouts of ephemeral threads, stack dumps."""
    server: str = ""
    """The server's name, its process, and the file that it keeps locked (flock) as long as it lives."""
    server_pid: int = 0
    server_lock: str = ""
    log: str = ""
    """Where the worker prints to from now on; nothing changes without."""
    processes: str = ""
    """Where commands are written down, so that a later server can end what this one left."""
    runtime: str = ""
    """The folder of the sockets and logs of all servers, which commands have no business in."""
    layers: msgspec.Raw = msgspec.Raw(b"{}")
    """The configuration as the front read it (`config.document`)."""
    mcp_layers: msgspec.Raw = msgspec.Raw(b"null")
    """The configuration that MCP servers are taken from, if it was read again for them; null: `layers`."""
    flags: msgspec.Raw = msgspec.Raw(b"{}")
    """For the catalog, which reads the files itself: what the command line adds (`config.flags`)."""
    originator: str = ""
    user_agent: str = ""
    recover: msgspec.Raw = msgspec.Raw(b"null")
    """For the next incarnation of a loaded thread: the params that loaded it first; null for the first one."""
    recover_method: str = ""
    credit: int = 0
    memory_mib: int = 0
    turn_cpu_s: float = 0
    """Limits that the worker is to put on itself (`workers.bounds`); 0 is none, or that a control group holds it."""


class Command(msgspec.Struct, kw_only=True):
    """A client's request on its way to a worker."""

    id: msgspec.Raw
    method: str
    params: msgspec.Raw = msgspec.Raw(b"null")
    experimental: bool = False
    """Whether the client asked for the experimental interface."""
    context: msgspec.Raw = msgspec.Raw(b"{}")
    """What the front adds, e.g. the status of loaded threads for a list."""


def pack_frame(kind: Frame, number: int = 0, payload: bytes = b"") -> bytes:
    """One message of ZeroMQ, not two: a piece of a stream is often a single word, and each message part costs as much."""
    return HEAD.pack(kind, number) + payload


def unpack_frame(message: bytes | memoryview) -> tuple[int, int, bytes]:
    """Kind, number and payload. Raises struct.error if it is shorter than a head."""
    kind, number = HEAD.unpack_from(message)
    return kind, number, bytes(message[HEAD.size :])


def pack_record(kind: Record, key: int, payload: bytes) -> bytes:
    return RECORD.pack(kind, key, len(payload)) + payload


def records(stream: bytes | memoryview, *, torn_end: bool = False) -> Iterator[tuple[int, int, bytes, int]]:
    """The (kind, key, payload, size with its header) of each record.

    Raises:
        TornRecord: the last record is incomplete and `torn_end` does not allow it.
    """
    view = memoryview(stream)
    position, end = 0, len(view)
    while position < end:
        if end - position >= RECORD.size:
            kind, key, length = RECORD.unpack_from(view, position)
            start = position + RECORD.size
            if start + length <= end:
                yield kind, key, bytes(view[start : start + length]), RECORD.size + length
                position = start + length
                continue
        if torn_end:
            return
        raise TornRecord(f"{end - position} bytes are no whole record")
