"""`fuzzyFileSearch`: files by a few letters of their path. Fields of a result have the peer's snake case."""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.base import Params, Wire

__all__ = [
    "FuzzyFileSearchParams",
    "FuzzyFileSearchResponse",
    "FuzzyFileSearchResult",
    "FuzzyFileSearchSessionCompletedNotification",
    "FuzzyFileSearchSessionStartParams",
    "FuzzyFileSearchSessionStartResponse",
    "FuzzyFileSearchSessionStopParams",
    "FuzzyFileSearchSessionStopResponse",
    "FuzzyFileSearchSessionUpdateParams",
    "FuzzyFileSearchSessionUpdateResponse",
    "FuzzyFileSearchSessionUpdatedNotification",
]


class FuzzyFileSearchParams(Params):
    """cancellation_token: a later request with the same one ends this one, which then finds nothing."""

    query: str
    roots: list[str]
    cancellation_token: str | None = None


class FuzzyFileSearchResult(msgspec.Struct, kw_only=True):
    """path: below `root`. indices: the characters of `path` that the query matched, ascending."""

    root: str
    path: str
    match_type: Literal["file", "directory"]
    file_name: str
    score: int
    indices: list[int] | None


class FuzzyFileSearchResponse(Wire):
    files: list[FuzzyFileSearchResult]


class FuzzyFileSearchSessionStartParams(Params):
    session_id: str
    roots: list[str]


class FuzzyFileSearchSessionStartResponse(Wire):
    pass


class FuzzyFileSearchSessionUpdateParams(Params):
    session_id: str
    query: str


class FuzzyFileSearchSessionUpdateResponse(Wire):
    pass


class FuzzyFileSearchSessionStopParams(Params):
    session_id: str


class FuzzyFileSearchSessionStopResponse(Wire):
    pass


class FuzzyFileSearchSessionUpdatedNotification(Wire):
    session_id: str
    query: str
    files: list[FuzzyFileSearchResult]


class FuzzyFileSearchSessionCompletedNotification(Wire):
    """Nothing more is to be found for the session's present query."""

    session_id: str
