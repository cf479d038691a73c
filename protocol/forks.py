"""Threads that go on from a point of another one (forks), or of themselves (reverts)."""

from __future__ import annotations

from protocol.base import Params, Wire
from protocol.threads import Thread, ThreadOpening, ThreadStartResponse

__all__ = ["ThreadForkParams", "ThreadForkResponse", "ThreadRevertParams", "ThreadRevertResponse"]


class ThreadForkParams(ThreadOpening, kw_only=True):
    """`last_turn_id`: up to and with this turn; `before_turn_id`: up to this turn and without it.

    `path`: the rollout to fork, which then counts and not the id.
    """

    thread_id: str
    attach_to_source: bool = False
    before_turn_id: str | None = None
    defer_goal_continuation: bool = False
    ephemeral: bool = False
    exclude_turns: bool = False
    experimental_disable_prediction_mcp: bool = False
    experimental_prediction_mode: bool = False
    last_turn_id: str | None = None
    path: str | None = None
    thread_source: str | None = None


class ThreadForkResponse(ThreadStartResponse, kw_only=True):
    pass


class ThreadRevertParams(Params, kw_only=True):
    """`before_turn_id`: this turn and all later ones go."""

    thread_id: str
    before_turn_id: str


class ThreadRevertResponse(Wire, kw_only=True):
    """The cursors are those of the newest turn and item that are left."""

    thread: Thread
    turns_backwards_cursor: str | None = None
    items_backwards_cursor: str | None = None
