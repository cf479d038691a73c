"""What can go wrong with stored threads.

    RolloutError                what every caller can catch; `str()` is the text for the client
    ├── InvalidThreadId         not a UUID
    ├── InvalidListParams       a cursor, filter or sort order that cannot be served
    ├── InvalidName             an empty thread name
    ├── RolloutNotFound         no rollout of that id (or none where it was looked for)
    ├── ThreadArchived          there is one, but it is archived
    ├── WriterBusy              another process writes this thread
    └── RolloutDamaged          the file cannot be read or continued as a rollout
        └── ForeignWrite        it changed under our lock

Failures of the file system (a full disk, no permission) stay `OSError`.
"""

from __future__ import annotations

__all__ = [
    "ForeignWrite",
    "InvalidListParams",
    "InvalidName",
    "InvalidThreadId",
    "RolloutDamaged",
    "RolloutError",
    "RolloutNotFound",
    "ThreadArchived",
    "WriterBusy",
]


class RolloutError(Exception):
    pass


class InvalidThreadId(RolloutError):
    """The text is that of Rust's uuid crate, without the `invalid thread id: ` in front."""


class InvalidListParams(RolloutError):
    pass


class InvalidName(RolloutError):
    pass


class RolloutNotFound(RolloutError):
    pass


class ThreadArchived(RolloutError):
    def __init__(self, thread_id: str) -> None:
        super().__init__(
            f"session {thread_id} is archived. Run `codex unarchive {thread_id}` to unarchive it first."
        )


class WriterBusy(RolloutError):
    """`holder`: the process id of the writer, where the system tells."""

    def __init__(self, thread_id: str, holder: int | None = None) -> None:
        super().__init__(f"thread {thread_id} already has an active writer")
        self.holder = holder


class RolloutDamaged(RolloutError):
    pass


class ForeignWrite(RolloutDamaged):
    pass
