"""Lists of threads: stored, loaded, found by a word."""

from __future__ import annotations

from typing import Literal

from protocol.base import Params, Wire
from protocol.history import PageLimit, SortDirection
from protocol.receipts import ThreadReadState
from protocol.threads import Thread

__all__ = [
    "SourceKind",
    "ThreadListParams",
    "ThreadListResponse",
    "ThreadLoadedListParams",
    "ThreadLoadedListResponse",
    "ThreadSearchParams",
    "ThreadSearchResponse",
    "ThreadSearchResult",
]

SourceKind = Literal[
    "cli",
    "vscode",
    "exec",
    "appServer",
    "subAgent",
    "subAgentReview",
    "subAgentCompact",
    "subAgentThreadSpawn",
    "subAgentOther",
    "unknown",
]


class ThreadListParams(Params, kw_only=True):
    ancestor_thread_id: str | None = None
    archived: bool | None = None
    attached_to_thread_id: str | None = None
    current_account_only: bool = False
    cursor: str | None = None
    cwd: str | list[str] | None = None
    excluded_thread_ids: list[str] | None = None
    include_attached_threads: bool = False
    limit: PageLimit | None = None
    model_providers: list[str] | None = None
    originators: list[str] | None = None
    parent_thread_id: str | None = None
    project_id: str | None = None
    search_term: str | None = None
    section_id: str | None = None
    sort_direction: SortDirection | None = None
    sort_key: Literal["created_at", "updated_at", "recency_at", "section_position"] | None = None
    source_kinds: list[SourceKind] | None = None
    use_state_db_only: bool = False


class ThreadListResponse(Wire, kw_only=True):
    """`read_states`: by thread id; a thread that has none is left out."""

    data: list[Thread]
    read_states: dict[str, ThreadReadState] = {}
    next_cursor: str | None = None
    backwards_cursor: str | None = None


class ThreadLoadedListParams(Params, kw_only=True):
    cursor: str | None = None
    limit: PageLimit | None = None


class ThreadLoadedListResponse(Wire, kw_only=True):
    data: list[str]
    next_cursor: str | None = None


class ThreadSearchParams(Params, kw_only=True):
    search_term: str
    archived: bool | None = None
    current_account_only: bool = False
    cursor: str | None = None
    include_attached_threads: bool = False
    limit: PageLimit | None = None
    sort_direction: SortDirection | None = None
    sort_key: Literal["created_at", "updated_at", "recency_at"] | None = None
    source_kinds: list[SourceKind] | None = None


class ThreadSearchResult(Wire, kw_only=True):
    """`snippet`: the words around the first hit in what was said."""

    thread: Thread
    snippet: str


class ThreadSearchResponse(Wire, kw_only=True):
    data: list[ThreadSearchResult]
    next_cursor: str | None = None
    backwards_cursor: str | None = None
