"""Reading a whole thread from its rollout: a stream of lines, one in memory at a time, either format.

A line that is no line is counted and passed over; so is a torn end. A file that continues another (a fork, a
revert) is read after the part of that other it builds on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from protocol.control import ThreadGoal
from protocol.turns import Turn
from rollouts.chain import chain_of, read_meta
from rollouts.lines import (
    Compacted,
    EventTag,
    HistoryBase,
    Line,
    SessionMeta,
    SettingsApplied,
    TokenCount,
    TokenInfo,
    TurnContext,
    decode_as,
    decode_line,
)
from rollouts.policy import sandbox_of_profile, stored_sandbox
from rollouts.positions import Positions
from rollouts.prompt import Prompt
from rollouts.turns import TurnBuilder, preview_of

__all__ = ["History", "read_history"]

_BUFFER = 1 << 20


class History(msgspec.Struct, kw_only=True):
    """A stored thread.

    Attributes:
        input_items: Model items as JSON, compaction applied, for the next request.
        turns: In wire form, oldest first, full.
        positions: Where they stand; empty for a legacy file.
        tokens: The last token counts, if any were stored.
        context: Settings of the last turn; in the file's form (see `rollouts.policy`).
        open_turn_id: The turn that was in flight when the file ended.
        next_ordinal: Of the next line; None in a legacy file.
        lines, junk: How many lines were read, how many were none.
        gaps: How often an ordinal did not follow the one before.
        torn: The last line had no end.
        unknown_items: Stored items of kinds this version does not show.
    """

    path: Path
    meta: SessionMeta
    mode: Literal["legacy", "paginated"]
    input_items: list[bytes]
    turns: list[Turn]
    positions: Positions
    preview: str
    tokens: TokenInfo | None = None
    context: TurnContext | None = None
    goal: ThreadGoal | None = None
    open_turn_id: str | None = None
    next_ordinal: int | None = None
    lines: int = 0
    junk: int = 0
    gaps: int = 0
    torn: bool = False
    unknown_items: int = 0


def read_history(path: Path) -> History:
    """All of a thread.

    Raises:
        RolloutDamaged: no session_meta, or a file it builds on is missing or builds on itself.
        OSError
    """
    meta = read_meta(path)
    reader = _Reader(meta.id, paginated=meta.history_mode == "paginated")
    for part, base in [*chain_of(path, meta), (path, None)]:
        with open(part, "rb", buffering=_BUFFER) as file:
            reader.read(file, base)
    open_turn_id = reader.turns.open_turn_id
    turns = reader.turns.finish()
    items = [item for turn in turns for item in turn.items]
    return History(
        path=path,
        meta=meta,
        mode="paginated" if reader.paginated else "legacy",
        input_items=reader.prompt.items(),
        turns=turns,
        positions=reader.turns.positions,
        preview=preview_of(items),
        tokens=reader.tokens,
        context=reader.context,
        goal=reader.goal,
        open_turn_id=open_turn_id,
        next_ordinal=reader.next_ordinal if reader.paginated else None,
        lines=reader.lines,
        junk=reader.junk,
        gaps=reader.gaps,
        torn=reader.torn,
        unknown_items=reader.turns.unknown,
    )


class GoalUpdated(msgspec.Struct):
    goal: ThreadGoal


class ToolOutput(msgspec.Struct):
    output: str


_GOAL_ANSWER = rb'"output":"{\"goal\":{'
_GOAL_ANSWER_WITHIN = 300
"""In bytes; before it stand a type and two ids."""


class _Reader:
    def __init__(self, thread_id: str, *, paginated: bool) -> None:
        self.thread_id = thread_id
        self.paginated = paginated
        self.prompt = Prompt()
        self.turns = TurnBuilder()
        self.tokens: TokenInfo | None = None
        self.context: TurnContext | None = None
        self.goal: ThreadGoal | None = None
        self.next_ordinal = 0
        self.lines = self.junk = self.gaps = 0
        self.torn = False
        self.context_is_old = False

    def read(self, file: BinaryIO, base: HistoryBase | None) -> None:
        number = 0
        first = True
        end = math.inf if base is None or base.end_ordinal_exclusive is None else base.end_ordinal_exclusive
        for raw in _lines(file, base.end_byte_offset if base else None):
            line = decode_line(raw)
            if line is None:
                if raw.strip():
                    self.torn = not raw.endswith(b"\n")
                    self.junk += not self.torn
                continue
            if line.ordinal is not None and line.ordinal >= end:
                break
            if line.ordinal is not None:
                self.gaps += not first and line.ordinal != self.next_ordinal
                self.next_ordinal = line.ordinal + 1
                first = False
            self.lines += 1
            self.take(number, line)
            # The peer numbers turns by the lines it can read, and these of 0.58 it cannot.
            number += not (line.type == "turn_context" and self.context_is_old)

    def take(self, number: int, line: Line) -> None:
        match line.type:
            case "response_item":
                self.prompt.add(line.payload)
                self.take_goal_answer(line.payload)
            case "event_msg":
                if tag := decode_as(EventTag, line.payload):
                    self.take_event(number, line.ordinal, tag.type, line.payload)
            case "turn_context":
                context = decode_as(TurnContext, line.payload)
                policy = context.sandbox_policy if context else None
                self.context_is_old = isinstance(policy, dict) and "mode" in policy
                # As the peer, which cannot read those of 0.58: such a thread goes on with the settings of today.
                self.context = self.context if self.context_is_old else context or self.context
            case "compacted":
                if compacted := decode_as(Compacted, line.payload):
                    self.prompt.compact(compacted)
            case _:
                pass

    def take_event(self, number: int, ordinal: int | None, kind: str, payload: msgspec.Raw) -> None:
        if kind == "token_count":
            count = decode_as(TokenCount, payload)
            if count is not None and count.info is not None:
                self.tokens = count.info
            return
        if kind == "thread_goal_updated":
            event = decode_as(GoalUpdated, payload)
            # A fork's history begins in another thread's file, whose goal is not its own.
            self.goal = (
                event.goal if event is not None and event.goal.thread_id == self.thread_id else self.goal
            )
            return
        if kind == "thread_goal_cleared":
            self.goal = None
            return
        if kind == "thread_settings_applied":
            self.take_settings(payload)
            return
        self.turns.feed(number, ordinal, kind, payload, paginated=self.paginated)
        if self.turns.rolled_back:
            self.prompt.drop_turns(self.turns.rolled_back)
            self.turns.rolled_back = 0

    def take_goal_answer(self, payload: msgspec.Raw) -> None:
        """The peer keeps what the model makes of a goal in a database of its own, but the model's tools tell it here."""
        if _GOAL_ANSWER not in bytes(memoryview(payload)[:_GOAL_ANSWER_WITHIN]):
            return
        output = decode_as(ToolOutput, payload)
        event = decode_as(GoalUpdated, output.output.encode()) if output is not None else None
        if event is not None and event.goal.thread_id == self.thread_id:
            self.goal = event.goal

    def take_settings(self, payload: msgspec.Raw) -> None:
        """Settings that came after those of the last turn, e.g. the overrides of a fork."""
        event = decode_as(SettingsApplied, payload)
        if event is None:
            return
        applied, context = event.thread_settings, self.context or TurnContext()
        cwd = applied.cwd or context.cwd
        sandbox = sandbox_of_profile(applied.permission_profile, cwd)
        mode = applied.collaboration_mode
        settings = mode.get("settings") if isinstance(mode, dict) else None
        self.context = msgspec.structs.replace(
            context,
            cwd=cwd,
            model=applied.model or context.model,
            approval_policy=applied.approval_policy or context.approval_policy,
            approvals_reviewer=applied.approvals_reviewer or context.approvals_reviewer,
            sandbox_policy=stored_sandbox(sandbox) if sandbox is not None else context.sandbox_policy,
            active_permission_profile=applied.active_permission_profile,
            collaboration_mode=mode or context.collaboration_mode,
            effort=settings.get("reasoning_effort") if isinstance(settings, dict) else context.effort,
            service_tier=applied.service_tier,
        )


def _lines(file: BinaryIO, end: int | None) -> Iterator[bytes]:
    if end is None:
        yield from file
        return
    left = min(end, os.fstat(file.fileno()).st_size)
    while left > 0 and (raw := file.readline(left)):
        left -= len(raw)
        yield raw
