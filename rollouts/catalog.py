"""The stored threads of a home, as the thread requests see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from protocol.receipts import ThreadReadState
from protocol.thread_list import (
    ThreadListParams,
    ThreadListResponse,
    ThreadSearchParams,
    ThreadSearchResponse,
    ThreadSearchResult,
)
from protocol.threads import (
    Environment,
    GitInfo,
    NotLoadedStatus,
    Thread,
    ThreadStatus,
)
from protocol.turns import Turn
from rollouts import archive
from rollouts.cursor import backwards_cursor, next_cursor
from rollouts.errors import InvalidListParams, RolloutDamaged, RolloutNotFound, StillReferenced
from rollouts.filters import Filters
from rollouts.heads import read_summary
from rollouts.ids import canonical_id
from rollouts.index import Row, ThreadIndex
from rollouts.layout import Home, parse_name
from rollouts.lock import WriterLock
from rollouts.names import Names
from rollouts.notes import Note, Notes
from rollouts.pages import Pager
from rollouts.receipts import Receipts
from rollouts.recent import RecentTurns
from rollouts.search import Needle

__all__ = ["Catalog"]

T = TypeVar("T")
_DEFAULT_LIMIT = 25
_MAX_LIMIT = 100
_SORT_COLUMNS = {
    "created_at": "created_ms",
    "updated_at": "updated_ms",
    "recency_at": "recency_ms",
    "section_position": "created_ms",  # of threads in a section, of which there are none
}


class Catalog:
    """Synchronous; for one thread at a time. `list` uses the index, `read` goes straight to the file.

    Ids in requests may be in any form the peer takes; in results they are canonical.
    """

    def __init__(self, root: Path | str) -> None:
        self.home = Home(root)
        self.names = Names(self.home)
        self.index = ThreadIndex(self.home, self.names)
        self.notes = Notes(self.home)
        self.receipts = Receipts(self.home)
        self._recent = RecentTurns()

    def close(self) -> None:
        self.index.close()

    def list(
        self, params: ThreadListParams, loaded: Mapping[str, ThreadStatus] | None = None
    ) -> ThreadListResponse:
        """`loaded`: the status of the threads that are loaded, by id.

        Raises:
            InvalidListParams: with the peer's text.
            OSError, sqlite3.Error
        """
        direction = params.sort_direction or "desc"
        if params.sort_key == "section_position" and params.section_id is None:
            raise InvalidListParams("section-position sorting requires a section filter")
        column = _SORT_COLUMNS[params.sort_key or "created_at"]
        filters = Filters(params, column, direction)
        limit = _page_size(params.limit)
        # Whatever `use_state_db_only` says: it asks for an index that Codex keeps up as it goes, and ours is only as
        # new as its last refresh.
        self.index.refresh()
        order = f"{column} {direction}, thread_id {direction}"
        rows = self.index.query(filters.where, filters.arguments, order, limit + 1)
        page, more = rows[:limit], len(rows) > limit
        if not page:
            return ThreadListResponse(data=[])
        return ThreadListResponse(
            # As the peer: only a thread that is read by itself tells what it was forked from.
            data=[
                msgspec.structs.replace(self._thread(row, loaded or {}), forked_from_id=None) for row in page
            ],
            read_states=self._read_states(page),
            next_cursor=next_cursor(_sort_value(page[-1], column), page[-1].summary.thread_id)
            if more
            else None,
            backwards_cursor=backwards_cursor(_sort_value(page[0], column), direction),
        )

    def read(
        self, thread_id: str, *, include_turns: bool = False, loaded: Mapping[str, ThreadStatus] | None = None
    ) -> Thread:
        """One thread, archived or not; with `include_turns` all its turns, read from the file now.

        Raises:
            InvalidThreadId
            RolloutNotFound: `thread not loaded: X`.
            RolloutDamaged, OSError
        """
        return self._look_up(thread_id, lambda path: self._read(path, include_turns, loaded or {}))

    def pager(self, thread_id: str) -> tuple[Pager, bool]:
        """The pages of a thread's turns, archived or not, and whether it is a paginated one. Raises as `read`."""
        thread_id = canonical_id(thread_id)
        stored = self._look_up(thread_id, self._recent.get)
        return Pager(thread_id, stored.turns, stored.positions, paginated=stored.paginated), stored.paginated

    def annotate(
        self, thread_id: str, change: Mapping[str, Any], loaded: Mapping[str, ThreadStatus]
    ) -> Thread:
        """Changes fields of a thread's `Note`.

        Raises:
            InvalidThreadId, OSError
            RolloutNotFound: `no rollout found for thread id X`.
        """
        thread_id = canonical_id(thread_id)
        try:
            path = self._present(thread_id)
        except RolloutNotFound:
            raise RolloutNotFound(f"no rollout found for thread id {thread_id}") from None
        self.notes.put(thread_id, msgspec.structs.replace(self.notes.get(thread_id), **change))
        return self._read(path, include_turns=False, loaded=loaded)

    def search(
        self, params: ThreadSearchParams, loaded: Mapping[str, ThreadStatus] | None = None
    ) -> ThreadSearchResponse:
        """Threads in which the term was said, in the order of a list.

        Raises:
            InvalidListParams: with the peer's text.
            OSError, sqlite3.Error
        """
        if not params.search_term:
            raise InvalidListParams("thread/search requires a non-empty searchTerm")
        direction = params.sort_direction or "desc"
        column = _SORT_COLUMNS[params.sort_key or "created_at"]
        filters, needle, limit = (
            Filters(params, column, direction),
            Needle(params.search_term),
            _page_size(params.limit),
        )
        self.index.refresh()
        order = f"{column} {direction}, thread_id {direction}"
        found: list[tuple[Row, str]] = []
        for row in self.index.query(filters.where, filters.arguments, order, -1):
            with suppress(OSError, RolloutDamaged):
                snippet = needle.snippet(Path(row.path))
                if snippet is not None:
                    found.append((row, snippet))
            if len(found) > limit:
                break
        page, more = found[:limit], len(found) > limit
        if not page:
            return ThreadSearchResponse(data=[])
        last = page[-1][0]
        return ThreadSearchResponse(
            data=[
                ThreadSearchResult(thread=self._thread(row, loaded or {}), snippet=text) for row, text in page
            ],
            next_cursor=next_cursor(_sort_value(last, column), last.summary.thread_id) if more else None,
            backwards_cursor=backwards_cursor(_sort_value(page[0][0], column), direction),
        )

    def delete(self, thread_id: str, *, only_look: bool = False) -> None:
        """Takes a thread away for good, archived or not; with `only_look` says only what would be in the way.

        Raises:
            InvalidThreadId, WriterBusy, OSError
            RolloutNotFound: `no rollout found for thread id X`.
            StillReferenced: another thread was forked from it.
        """
        thread_id = canonical_id(thread_id)
        segments = [
            path for archived in (False, True) for path in self.home.segments(thread_id, archived=archived)
        ]
        if not segments:
            raise RolloutNotFound(f"no rollout found for thread id {thread_id}")
        self.index.refresh()
        names = [name for path in segments if (name := parse_name(path.name))]
        if self.index.builds_on([name.segment_id for name in names], other_than=thread_id):
            raise StillReferenced(thread_id)
        if only_look:
            return
        with WriterLock(self.home, thread_id):
            for path in reversed(segments):  # its present first: what is left after a crash is an older state
                path.unlink(missing_ok=True)
        self.notes.drop(thread_id)
        self.receipts.drop(thread_id)

    def _read_states(self, rows: Sequence[Row]) -> dict[str, ThreadReadState]:
        return {row.summary.thread_id: self.receipts.get(row.summary.thread_id) for row in rows}

    def _look_up(self, thread_id: str, read: Callable[[Path], T]) -> T:
        """What `read` makes of the thread's file. One that is archived meanwhile, or comes back, is looked for again."""
        try:
            return read(self._present(thread_id))
        except FileNotFoundError:
            return read(self._present(thread_id))

    def _present(self, thread_id: str) -> Path:
        thread_id = canonical_id(thread_id)
        # It may come back from the archive after the first look.
        for archived in (False, True, False):
            if segments := self.home.segments(thread_id, archived=archived):
                return segments[-1]
        raise RolloutNotFound(f"thread not loaded: {thread_id}")

    def archive(self, thread_id: str) -> None:
        """See `rollouts.archive`."""
        archive.archive(self.home, thread_id)

    def unarchive(self, thread_id: str) -> Thread:
        """See `rollouts.archive`."""
        return self._read(archive.unarchive(self.home, thread_id), include_turns=False, loaded={})

    def set_name(self, thread_id: str, name: str, *, stored: bool = True) -> None:
        """Names a thread. `stored` False: it is loaded but has no file yet, so none is asked for.

        Raises:
            InvalidThreadId, InvalidName, RolloutNotFound, OSError
        """
        thread_id = canonical_id(thread_id)
        if stored and not self.home.segments(thread_id, archived=False):
            raise RolloutNotFound(f"no rollout found for thread id {thread_id}")
        self.names.set(thread_id, name)

    def _read(self, path: Path, include_turns: bool, loaded: Mapping[str, ThreadStatus]) -> Thread:
        name = parse_name(path.name)
        stat = path.stat()
        summary = read_summary(str(path), name, self.home.find_segment) if name else None
        if summary is None:
            raise RolloutNotFound(f"thread not loaded: {name.thread_id if name else path.stem}")
        self.names.refresh()
        updated_ms = stat.st_mtime_ns // 1_000_000
        recency_ms = updated_ms if summary.recency_ms is None else summary.recency_ms
        turns = self._recent.get(path).turns if include_turns else ()
        return self._thread(Row(str(path), False, updated_ms, recency_ms, summary), loaded, turns)

    def _thread(self, row: Row, loaded: Mapping[str, ThreadStatus], turns: Sequence[Turn] = ()) -> Thread:
        known = row.summary
        status = loaded.get(known.thread_id)
        note: Note = self.notes.get(known.thread_id)
        environment = Environment(environment_id="local", cwd=known.cwd, runtime_workspace_roots=[known.cwd])
        return Thread(
            id=known.thread_id,
            environments=None if status is None else [environment],
            session_id=known.session_id,
            forked_from_id=known.forked_from,
            parent_thread_id=known.parent,
            preview=known.preview,
            history_mode="paginated" if known.history_mode == "paginated" else "legacy",
            model_provider=known.provider or "",
            model=known.model,
            reasoning_effort=known.effort,
            created_at=known.created_ms // 1000,
            updated_at=row.updated_ms // 1000,
            recency_at=row.recency_ms // 1000,
            status=status or NotLoadedStatus(),
            path=row.path,
            cwd=known.cwd,
            cli_version=known.cli_version,
            originator=known.originator,
            source=known.source,
            thread_source=known.thread_source,
            agent_nickname=known.agent_nickname,
            agent_role=known.agent_role,
            git_info=note.git_info(msgspec.convert(known.git, GitInfo) if known.git else None),
            name=self.names.get(known.thread_id),
            daybreak_enabled=note.daybreak_enabled,
            turns=[*turns],
        )


def _page_size(limit: int | None) -> int:
    return min(max(_DEFAULT_LIMIT if limit is None else limit, 1), _MAX_LIMIT)


def _sort_value(row: Row, column: str) -> int:
    if column == "created_ms":
        return row.summary.created_ms
    return row.updated_ms if column == "updated_ms" else row.recency_ms
