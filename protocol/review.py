"""`review/start`: the model reviews changes, and the thread gets its findings."""

from __future__ import annotations

from typing import Literal

from protocol.base import Params, Wire
from protocol.turns import Turn

__all__ = [
    "BaseBranchTarget",
    "CommitTarget",
    "CustomTarget",
    "ReviewStartParams",
    "ReviewStartResponse",
    "ReviewTarget",
    "UncommittedChangesTarget",
]


class UncommittedChangesTarget(Params, kw_only=True, tag_field="type", tag="uncommittedChanges"):
    pass


class BaseBranchTarget(Params, kw_only=True, tag_field="type", tag="baseBranch"):
    branch: str


class CommitTarget(Params, kw_only=True, tag_field="type", tag="commit"):
    sha: str
    title: str | None = None


class CustomTarget(Params, kw_only=True, tag_field="type", tag="custom"):
    instructions: str


ReviewTarget = UncommittedChangesTarget | BaseBranchTarget | CommitTarget | CustomTarget


class ReviewStartParams(Params, kw_only=True):
    thread_id: str
    target: ReviewTarget
    delivery: Literal["inline"] | None = None


class ReviewStartResponse(Wire, kw_only=True):
    """`turn`: its only item shows what is reviewed. `review_thread_id`: where the review takes place."""

    turn: Turn
    review_thread_id: str
