"""The stored threads of a home, as the thread requests see them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from protocol.threads import (
    Environment,
    GitInfo,
    NotLoadedStatus,
    Thread,
    ThreadListParams,
    ThreadListResponse,
    ThreadStatus,
)
from protocol.turns import Turn
from rollouts import archive
from rollouts.cursor import backwards_cursor, next_cursor, parse_cursor
from rollouts.errors import InvalidListParams, InvalidThreadId, RolloutNotFound
from rollouts.heads import read_summary
from rollouts.ids import canonical_id
from rollouts.index import Row, ThreadIndex
from rollouts.layout import Home, parse_name
from rollouts.names import Names
from rollouts.reader import read_history

__all__ = ["Catalog"]

_DEFAULT_LIMIT = 25
_MAX_LIMIT = 100
_INTERACTIVE = ("cli", "vscode")
_SOURCE_KINDS = (
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
)
_SORT_COLUMNS = {"created_at": "created_ms", "updated_at": "updated_ms", "recency_at": "recency_ms"}


class Catalog:
    """Synchronous; for one thread at a time. `list` uses the index, `read` goes straight to the file.

    Ids in requests may be in any form the peer takes; in results they are canonical.
    """

    def __init__(self, root: Path | str) -> None:
        self.home = Home(root)
        self.names = Names(self.home)
        self.index = ThreadIndex(self.home, self.names)

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
        if params.sort_key == "section_position":
            raise InvalidListParams("section-position sorting requires a section filter")
        column = _SORT_COLUMNS[params.sort_key or "created_at"]
        conditions, arguments = _conditions(params, column, direction)
        if params.section_id is not None:  # no thread is ever put into a section here
            return ThreadListResponse(data=[])
        limit = min(max(_DEFAULT_LIMIT if params.limit is None else params.limit, 1), _MAX_LIMIT)
        if not params.use_state_db_only:
            self.index.refresh()
        order = f"{column} {direction}, thread_id {direction}"
        rows = self.index.query(" AND ".join(conditions), arguments, order, limit + 1)
        page, more = rows[:limit], len(rows) > limit
        if not page:
            return ThreadListResponse(data=[])
        return ThreadListResponse(
            data=[self._thread(row, loaded or {}) for row in page],
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
        thread_id = canonical_id(thread_id)
        for archived in (False, True):
            if segments := self.home.segments(thread_id, archived=archived):
                return self._read(segments[-1], include_turns, loaded or {})
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
        if stored and not any(self.home.segments(thread_id, archived=archived) for archived in (False, True)):
            raise RolloutNotFound(f"no rollout found for thread id {thread_id}")
        self.names.set(thread_id, name)

    def name_of(self, thread_id: str) -> str | None:
        self.names.refresh()
        return self.names.get(thread_id)

    def _read(self, path: Path, include_turns: bool, loaded: Mapping[str, ThreadStatus]) -> Thread:
        name = parse_name(path.name)
        stat = path.stat()
        summary = read_summary(str(path), name, self.home.find_segment) if name else None
        if summary is None:
            raise RolloutNotFound(f"thread not loaded: {name.thread_id if name else path.stem}")
        self.names.refresh()
        updated_ms = stat.st_mtime_ns // 1_000_000
        recency_ms = updated_ms if summary.recency_ms is None else summary.recency_ms
        turns = read_history(path).turns if include_turns else ()
        return self._thread(Row(str(path), False, updated_ms, recency_ms, summary), loaded, turns)

    def _thread(self, row: Row, loaded: Mapping[str, ThreadStatus], turns: Sequence[Turn] = ()) -> Thread:
        known = row.summary
        status = loaded.get(known.thread_id)
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
            git_info=msgspec.convert(known.git, GitInfo) if known.git else None,
            name=self.names.get(known.thread_id),
            turns=[*turns],
        )


def _sort_value(row: Row, column: str) -> int:
    if column == "created_ms":
        return row.summary.created_ms
    return row.updated_ms if column == "updated_ms" else row.recency_ms


def _conditions(params: ThreadListParams, column: str, direction: str) -> tuple[list[str], list[Any]]:
    archived = bool(params.archived)
    conditions, arguments = ["archived = ?"], list[Any]([archived])
    if not archived:
        conditions.append("preview <> ''")  # a thread is listed once it has been talked to
    if params.originators:
        raise InvalidListParams("originator filtering is not supported by the local app-server")
    if params.model_providers:
        _among("provider", params.model_providers, conditions, arguments)
    if params.cwd is not None:
        wanted = [params.cwd] if isinstance(params.cwd, str) else params.cwd
        _among("cwd", [os.path.abspath(cwd) for cwd in wanted], conditions, arguments)
    for kind in params.source_kinds or []:
        if kind not in _SOURCE_KINDS:
            choices = ", ".join(f"`{known}`" for known in _SOURCE_KINDS)
            raise InvalidListParams(f"Invalid request: unknown variant `{kind}`, expected one of {choices}")
    kinds = list(params.source_kinds or _INTERACTIVE)
    if "subAgent" in kinds:
        kinds += [kind for kind in _SOURCE_KINDS if kind.startswith("subAgent")]
    _among("source_kind", kinds, conditions, arguments)
    if params.excluded_thread_ids:
        try:
            excluded = [canonical_id(text) for text in params.excluded_thread_ids]
        except InvalidThreadId as error:
            raise InvalidListParams(f"invalid excluded thread id: {error}") from None
        _among("thread_id", excluded, conditions, arguments, operator="NOT IN")
    if params.search_term:
        conditions.append("(instr(preview, ?) OR instr(ifnull(name, ''), ?))")
        arguments += [params.search_term] * 2
    if params.cursor is not None:
        cursor, sign = parse_cursor(params.cursor), "<" if direction == "desc" else ">"
        if cursor.thread_id is None:
            conditions.append(f"{column} {sign} ?")
            arguments.append(cursor.ms)
        else:
            conditions.append(f"({column}, thread_id) {sign} (?, ?)")
            arguments += [cursor.ms, cursor.thread_id]
    return conditions, arguments


def _among(
    column: str, values: list[str], conditions: list[str], arguments: list[Any], operator: str = "IN"
) -> None:
    # One JSON array: a list of any length is one argument.
    choice = "(SELECT value FROM json_each(?))"
    conditions.append(f"{column} {operator} {choice}")
    arguments.append(msgspec.json.encode(values).decode())
