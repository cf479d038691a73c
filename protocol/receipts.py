"""What of a thread its user has not read yet."""

from __future__ import annotations

from protocol.base import Params, Wire

__all__ = [
    "MarkRead",
    "MarkUnread",
    "ThreadReadState",
    "ThreadReadStateChanged",
    "ThreadReadStateUpdateParams",
    "ThreadReadStateUpdateResponse",
    "ThreadStartUnread",
    "TurnUnread",
]


class ThreadStartUnread(Wire, kw_only=True, tag_field="type", tag="threadStart"):
    """Marked as unread from the start."""


class TurnUnread(Wire, kw_only=True, tag_field="type", tag="turn"):
    """The first turn that ended since everything had been read."""

    turn_id: str


class ThreadReadState(Wire, kw_only=True):
    """`first_unread` null: all is read. `revision` changes with the state and with what there is to read."""

    first_unread: ThreadStartUnread | TurnUnread | None = None
    revision: str


class ThreadReadStateChanged(Wire, kw_only=True):
    thread_id: str
    read_state: ThreadReadState


class MarkRead(Params, kw_only=True, tag_field="type", tag="read"):
    @property
    def read(self) -> bool:
        return True


class MarkUnread(Params, kw_only=True, tag_field="type", tag="unread"):
    @property
    def read(self) -> bool:
        return False


class ThreadReadStateUpdateParams(Params, kw_only=True):
    """`expected_revision`: of the state that the user has seen; another one is a conflict."""

    thread_id: str
    operation: MarkRead | MarkUnread
    expected_revision: str


class ThreadReadStateUpdateResponse(Wire, kw_only=True):
    read_state: ThreadReadState
