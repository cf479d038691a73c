"""What the list of threads shows of a rollout, read from the two ends of the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from protocol.threads import GitInfo
from rollouts.ids import id_time_ms
from rollouts.items import content_of
from rollouts.layout import RolloutName
from rollouts.lines import SessionMeta, SettingsApplied, TaskStarted, TurnContext, decode_as, decode_line

__all__ = ["Summary", "read_summary", "wire_git", "wire_source"]

# A head of the peer holds its base instructions, skills and world state before the first user message: 30 to 60 KB.
_HEAD = 1 << 16
_HEAD_LIMIT = 1 << 21
_TAIL = 1 << 16
_MAX_CHAIN = 16
_PREVIEW_LIMIT = 4096
# The id knows the millisecond, the file name only a second of local time; an id that is a day off was made up.
_DAY_MS = 86_400_000

_SOURCE_WORDS = {"mcp": "appServer", "cli": "cli", "vscode": "vscode", "exec": "exec", "unknown": "unknown"}
_SUBAGENT_KINDS = {
    "review": "subAgentReview",
    "compact": "subAgentCompact",
    "thread_spawn": "subAgentThreadSpawn",
}


class Summary(msgspec.Struct, kw_only=True):
    """`source`: in wire form. `source_kind`: the word `sourceKinds` filters by. `recency_ms`: None if not known.

    `base`: the segment that the file goes on from.
    """

    thread_id: str
    created_ms: int
    session_id: str
    forked_from: str | None
    parent: str | None
    preview: str
    provider: str | None
    model: str | None
    effort: str | None
    cwd: str
    cli_version: str
    originator: str
    source: Any
    source_kind: str
    thread_source: str | None
    agent_nickname: str | None
    agent_role: str | None
    history_mode: str
    git: dict[str, str | None] | None
    recency_ms: int | None
    base: str | None


class _UserItem(msgspec.Struct):
    type: str = ""
    content: list[msgspec.Raw] = []
    user_facing_hint: str = ""


class _Event(msgspec.Struct):
    type: str
    message: str = ""
    item: _UserItem | None = None


class _Facts:
    def __init__(self) -> None:
        self.meta: SessionMeta | None = None
        self.preview = ""
        self.context: TurnContext | None = None
        self.started_at: int | None = None
        self.whole = False

    def take_head(self, raw: bytes) -> bool:
        """Takes in one of the first lines; true once nothing more is wanted of the head."""
        line = decode_line(raw)
        if line is None:
            return False
        if line.type == "session_meta" and self.meta is None:
            self.meta = decode_as(SessionMeta, line.payload)
        elif line.type == "turn_context":
            self.context = decode_as(TurnContext, line.payload) or self.context
        elif line.type == "event_msg":
            self._take_event(line.payload)
        return bool(self.preview)

    def _take_event(self, payload: msgspec.Raw) -> None:
        started = decode_as(TaskStarted, payload)
        if started is not None:
            self.started_at = started.started_at
            return
        event = decode_as(_Event, payload)
        if event is None:
            return
        if event.type == "thread_settings_applied" and self.context is None:
            # A fork has these, and no turn of its own yet.
            applied = decode_as(SettingsApplied, payload)
            settings = applied.thread_settings if applied is not None else None
            if settings is not None:
                self.context = TurnContext(cwd=settings.cwd or "", model=settings.model or "")
            return
        if event.type == "user_message":
            self.preview = event.message[:_PREVIEW_LIMIT]
        elif event.type == "item_completed" and event.item:
            if event.item.type == "UserMessage":
                self.preview = _text(event.item.content)[:_PREVIEW_LIMIT]
            elif event.item.type == "EnteredReviewMode":
                self.preview = event.item.user_facing_hint[:_PREVIEW_LIMIT]


def read_summary(path: str, name: RolloutName, find_segment: Callable[[str], Path | None]) -> Summary | None:
    """None if the file is no rollout (no session_meta in its head). A vanished file raises OSError.

    A fork or a revert has the first message of what it builds on: `find_segment` finds that file.
    """
    facts = _read_ends(path)
    meta = facts.meta
    if meta is None:
        return None
    preview, base = facts.preview, meta.history_base
    if base is None and name.segment_id != name.thread_id:
        # Reverted to before its first turn: it is still the thread that began so.
        below = find_segment(name.thread_id)
        preview = _read_ends(str(below), tail=False).preview if below else preview
    for _ in range(_MAX_CHAIN):
        below = find_segment(base.thread_id) if base else None
        if below is None:
            break
        earlier = _read_ends(str(below), tail=False)
        preview = earlier.preview or preview
        base = earlier.meta.history_base if earlier.meta else None
    return _summarize(name, facts, meta, preview)


def _summarize(name: RolloutName, facts: _Facts, meta: SessionMeta, preview: str) -> Summary:
    paginated, context = meta.history_mode == "paginated", facts.context
    source, kind = _source(meta.source)
    return Summary(
        thread_id=name.thread_id,
        created_ms=_created_ms(name),
        session_id=meta.session_id or name.thread_id,
        forked_from=meta.forked_from_id,
        parent=meta.parent_thread_id,
        preview=preview,
        provider=meta.model_provider,
        # The peer does not tell the model of a legacy thread either before it is resumed.
        model=context.model or None if context and paginated else None,
        effort=context.effort if context and paginated else None,
        cwd=(context.cwd if context else "") or meta.cwd,
        cli_version=meta.cli_version,
        originator=meta.originator,
        source=source,
        source_kind=kind,
        thread_source=meta.thread_source,
        agent_nickname=meta.agent_nickname,
        agent_role=meta.agent_role,
        history_mode="paginated" if paginated else "legacy",
        git=_git(meta.git),
        recency_ms=None if facts.started_at is None else facts.started_at * 1000,
        base=meta.history_base.thread_id if meta.history_base else None,
    )


def _created_ms(name: RolloutName) -> int:
    stamp, born = int(name.created_at * 1000), id_time_ms(name.thread_id)
    return born if born is not None and abs(born - stamp) < _DAY_MS else stamp


def _read_ends(path: str, *, tail: bool = True) -> _Facts:
    facts = _Facts()
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size, want = os.fstat(fd).st_size, _HEAD
        head = b""
        while True:
            block = os.pread(fd, want - len(head), len(head))
            fresh = _Facts()
            head += block
            lines = head.split(b"\n")
            done = any(fresh.take_head(raw) for raw in lines if raw)
            facts = fresh
            if done or not block or len(head) >= min(size, _HEAD_LIMIT):
                break
            want = len(head) * 4
        if tail and size > 0:
            _read_tail(fd, size, facts)
    finally:
        os.close(fd)
    return facts


def _read_tail(fd: int, size: int, facts: _Facts) -> None:
    """The settings and the start of the newest turn, if its first lines are near the end of the file."""
    start = max(0, size - _TAIL)
    lines = os.pread(fd, size - start, start).split(b"\n")[1 if start else 0 :]
    context: TurnContext | None = None
    started: TaskStarted | None = None
    for raw in reversed(lines):
        if context is None and b'"turn_context"' in raw:
            line = decode_line(raw)
            if line is not None and line.type == "turn_context":
                context = decode_as(TurnContext, line.payload)
        if started is None and b'"task_started"' in raw:
            line = decode_line(raw)
            if line is not None and line.type == "event_msg":
                started = decode_as(TaskStarted, line.payload)
        if context and started:
            break
    facts.context = context or facts.context
    if started is not None:
        facts.started_at = started.started_at
    elif start:  # the newest turn began before the tail: nobody knows when
        facts.started_at = None


def _text(content: list[msgspec.Raw]) -> str:
    parts = [decode_as(dict[str, Any], raw) for raw in content]
    try:
        wire = content_of([part for part in parts if part])
    except (KeyError, TypeError, AttributeError):
        return ""
    return "".join(part["text"] for part in wire if isinstance(part.get("text"), str))


def _source(stored: Any) -> tuple[Any, str]:
    """The source in wire form and its kind: `{"subagent": "review"}` is `{"subAgent": "review"}`, `subAgentReview`."""
    if isinstance(stored, str):
        word = _SOURCE_WORDS.get(stored, "unknown")
        return word, word
    if isinstance(stored, dict) and (agent := stored.get("subagent")) is not None:
        kind = agent if isinstance(agent, str) else next(iter(agent), "") if isinstance(agent, dict) else ""
        return {"subAgent": agent}, _SUBAGENT_KINDS.get(kind, "subAgentOther")
    if isinstance(stored, dict) and "custom" in stored:
        return {"custom": stored["custom"]}, "custom"
    return ("vscode", "vscode") if stored is None else ("unknown", "unknown")


def wire_source(stored: Any) -> Any:
    """The `source` of a `session_meta` as clients see it."""
    return _source(stored)[0]


def wire_git(stored: Any) -> GitInfo | None:
    """The `git` of a `session_meta` as clients see it."""
    git = _git(stored)
    return None if git is None else msgspec.convert(git, GitInfo)


def _git(stored: Any) -> dict[str, str | None] | None:
    if not isinstance(stored, dict):
        return None
    keys = {"sha": "commit_hash", "branch": "branch", "originUrl": "repository_url"}
    values = {wire: stored.get(key) for wire, key in keys.items()}
    return {wire: value if isinstance(value, str) else None for wire, value in values.items()}
