"""Which stored threads a list shows: its params as conditions of the index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from protocol.thread_list import SourceKind, ThreadListParams, ThreadSearchParams
from rollouts.cursor import parse_cursor
from rollouts.errors import InvalidListParams, InvalidThreadId, UnservedListParams
from rollouts.ids import canonical_id

__all__ = ["Filters"]

_INTERACTIVE = ("cli", "vscode")
_SUB_AGENTS = tuple(kind for kind in get_args(SourceKind) if kind.startswith("subAgent"))
_MAX_EXCLUDED = 100
_DESCENDANTS = """
thread_id <> ? AND thread_id IN (
    WITH RECURSIVE family(id) AS (
        SELECT ? UNION SELECT rollouts.thread_id FROM rollouts JOIN family ON json_extract(rollouts.summary, '$.parent') = family.id
    ) SELECT id FROM family
)"""


class Filters:
    """SQL over the columns of `rollouts`, and what stands for its question marks.

    Raises:
        InvalidListParams: with the peer's text.
    """

    def __init__(self, params: ThreadListParams | ThreadSearchParams, column: str, direction: str) -> None:
        archived = bool(params.archived)
        self._conditions = ["archived = ?"]
        self.arguments: list[Any] = [archived]
        if not archived:
            self._conditions.append("preview <> ''")  # a thread is listed once it has been talked to
        kinds: Sequence[str] | None = params.source_kinds or _INTERACTIVE
        if isinstance(params, ThreadListParams):
            self._narrow(params)
            if not params.source_kinds and (params.parent_thread_id or params.ancestor_thread_id):
                kinds = None  # what a thread has spawned is never interactive
        if kinds is not None:
            self._among("source_kind", [*kinds, *(_SUB_AGENTS if "subAgent" in kinds else ())])
        if params.cursor is not None:
            self._after(params.cursor, column, "<" if direction == "desc" else ">")

    @property
    def where(self) -> str:
        return " AND ".join(self._conditions)

    def _narrow(self, params: ThreadListParams) -> None:
        if params.originators:
            raise UnservedListParams("originator filtering is not supported by the local app-server")
        if params.project_id is not None:  # there are none here
            raise UnservedListParams(f"project not found: {params.project_id}")
        for what, given in (
            ("ancestor thread", params.ancestor_thread_id),
            ("attached thread parent", params.attached_to_thread_id),
            ("parent thread", params.parent_thread_id),
        ):
            if given is not None:
                _check_id(what, given)
        if params.parent_thread_id and params.ancestor_thread_id:
            raise InvalidListParams("parentThreadId and ancestorThreadId are mutually exclusive")
        if params.include_attached_threads and not params.search_term:
            raise InvalidListParams("includeAttachedThreads requires a non-empty searchTerm")
        if params.section_id is not None or params.attached_to_thread_id is not None:
            self._add("0")  # no thread is ever put into a section, or attached to another one, here
        if params.model_providers:
            self._among("provider", params.model_providers)
        if params.cwd is not None:
            wanted = [params.cwd] if isinstance(params.cwd, str) else params.cwd
            self._among("cwd", [os.path.abspath(cwd) for cwd in wanted])
        if params.parent_thread_id:
            self._add("json_extract(summary, '$.parent') = ?", params.parent_thread_id)
        if params.ancestor_thread_id:
            self._add(_DESCENDANTS, params.ancestor_thread_id, params.ancestor_thread_id)
        if params.excluded_thread_ids:
            self._exclude(params.excluded_thread_ids)
        if params.search_term:
            term = params.search_term
            self._add("(instr(preview, ?) OR instr(ifnull(name, ''), ?))", term, term)

    def _exclude(self, thread_ids: list[str]) -> None:
        if len(thread_ids) > _MAX_EXCLUDED:
            raise UnservedListParams(f"excludedThreadIds accepts at most {_MAX_EXCLUDED} entries")
        try:
            excluded = [canonical_id(text) for text in thread_ids]
        except InvalidThreadId as error:
            raise UnservedListParams(f"invalid excluded thread id: {error}") from None
        self._among("thread_id", excluded, operator="NOT IN")

    def _after(self, text: str, column: str, sign: str) -> None:
        cursor = parse_cursor(text)
        if cursor.thread_id is None:
            self._add(f"{column} {sign} ?", cursor.ms)
        else:
            self._add(f"({column}, thread_id) {sign} (?, ?)", cursor.ms, cursor.thread_id)

    def _among(self, column: str, values: Sequence[str], operator: str = "IN") -> None:
        # One JSON array: a list of any length is one argument.
        choice = "(SELECT value FROM json_each(?))"
        self._add(f"{column} {operator} {choice}", msgspec.json.encode(values).decode())

    def _add(self, condition: str, *arguments: Any) -> None:
        self._conditions.append(condition)
        self.arguments.extend(arguments)


def _check_id(what: str, given: str) -> None:
    try:
        canonical_id(given)
    except InvalidThreadId as error:
        reason = str(error).removeprefix("invalid thread id: ")
        raise InvalidListParams(f"invalid {what} id: {reason}") from None
