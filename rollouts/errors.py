"""What can go wrong with stored threads.

    RolloutError                what every caller can catch; `str()` is the text for the client
    ├── InvalidThreadId         not a UUID
    ├── InvalidListParams       a cursor, filter or sort order that cannot be served
    │   └── UnservedListParams  one that the peer answers with another code
    ├── InvalidName             an empty thread name
    ├── RolloutNotFound         no rollout of that id (or none where it was looked for)
    ├── StillReferenced         a thread cannot go: a fork of it needs its history
    ├── TurnNotFound            a thread has no such turn, or none to cut at
    ├── ThreadArchived          there is one, but it is archived
    ├── ReadStateConflict       a thread was marked as read by someone who has not seen all of it
    ├── WriterBusy              another process writes this thread
    └── RolloutDamaged          the file cannot be read or continued as a rollout
        └── ForeignWrite        it changed under our lock

Failures of the file system (a full disk, no permission) stay `OSError`.
"""

from __future__ import annotations

from protocol.receipts import ThreadReadState
from protocol.rpc import INVALID_PARAMS, INVALID_REQUEST

__all__ = [
    "ForeignWrite",
    "InvalidListParams",
    "InvalidName",
    "InvalidThreadId",
    "ReadStateConflict",
    "RolloutDamaged",
    "RolloutError",
    "RolloutNotFound",
    "StillReferenced",
    "ThreadArchived",
    "TurnNotFound",
    "UnservedListParams",
    "WriterBusy",
]


class RolloutError(Exception):
    code = INVALID_REQUEST
    """That of the answer, in JSON-RPC."""


class InvalidThreadId(RolloutError):
    """The text is that of Rust's uuid crate, without the `invalid thread id: ` in front."""


class InvalidListParams(RolloutError):
    pass


class UnservedListParams(InvalidListParams):
    code = INVALID_PARAMS


class InvalidName(RolloutError):
    pass


class RolloutNotFound(RolloutError):
    pass


class StillReferenced(RolloutError):
    def __init__(self, thread_id: str) -> None:
        super().__init__(f"cannot delete thread {thread_id}: forked history still references it")


class TurnNotFound(RolloutError):
    pass


class ThreadArchived(RolloutError):
    def __init__(self, thread_id: str) -> None:
        super().__init__(
            f"session {thread_id} is archived. Run `codex unarchive {thread_id}` to unarchive it first."
        )


class ReadStateConflict(RolloutError):
    """`state`: the present one."""

    def __init__(self, state: ThreadReadState) -> None:
        super().__init__("read state changed")
        self.state = state


class WriterBusy(RolloutError):
    """`holder`: the process id of the writer, where the system tells."""

    def __init__(self, thread_id: str, holder: int | None = None) -> None:
        super().__init__(f"thread {thread_id} already has an active writer")
        self.holder = holder


class RolloutDamaged(RolloutError):
    pass


class ForeignWrite(RolloutDamaged):
    pass
