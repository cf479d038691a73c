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

from protocol.turns import Turn
from rollouts.errors import RolloutDamaged
from rollouts.layout import home_of
from rollouts.lines import (
    Compacted,
    EventTag,
    HistoryBase,
    Line,
    SessionMeta,
    TokenCount,
    TokenInfo,
    TurnContext,
    decode_as,
    decode_line,
)
from rollouts.prompt import Prompt
from rollouts.turns import TurnBuilder, preview_of

__all__ = ["History", "read_history", "read_meta"]

_BUFFER = 1 << 20
# A chain of reverts and forks longer than this is taken for a ring.
_MAX_CHAIN = 256
# session_meta is the first line; junk before it is forgiven up to here.
_META_WITHIN = 64


class History(msgspec.Struct, kw_only=True):
    """A stored thread.

    Attributes:
        input_items: Model items as JSON, compaction applied, for the next request.
        turns: In wire form, oldest first, full.
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
    preview: str
    tokens: TokenInfo | None = None
    context: TurnContext | None = None
    open_turn_id: str | None = None
    next_ordinal: int | None = None
    lines: int = 0
    junk: int = 0
    gaps: int = 0
    torn: bool = False
    unknown_items: int = 0


def read_meta(path: Path) -> SessionMeta:
    """The first line of a rollout.

    Raises:
        RolloutDamaged: there is no session_meta where one must be.
        OSError
    """
    with open(path, "rb") as file:
        for _, raw in zip(range(_META_WITHIN), file, strict=False):
            line = decode_line(raw)
            if line is not None and line.type == "session_meta":
                meta = decode_as(SessionMeta, line.payload)
                if meta is not None:
                    return meta
    raise RolloutDamaged(f"rollout {path} has no session metadata")


def read_history(path: Path) -> History:
    """All of a thread.

    Raises:
        RolloutDamaged: no session_meta, or a file it builds on is missing or builds on itself.
        OSError
    """
    meta = read_meta(path)
    reader = _Reader(paginated=meta.history_mode == "paginated")
    for part, base in [*_chain(path, meta), (path, None)]:
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
        preview=preview_of(items),
        tokens=reader.tokens,
        context=reader.context,
        open_turn_id=open_turn_id,
        next_ordinal=reader.next_ordinal if reader.paginated else None,
        lines=reader.lines,
        junk=reader.junk,
        gaps=reader.gaps,
        torn=reader.torn,
        unknown_items=reader.turns.unknown,
    )


def _chain(path: Path, meta: SessionMeta) -> list[tuple[Path, HistoryBase]]:
    """The files this one builds on, oldest first, each with where to stop in it."""
    home, chain = home_of(path), list[tuple[Path, HistoryBase]]()
    base = meta.history_base
    while base is not None:
        found = home.find_segment(base.thread_id)
        if found is None:
            raise RolloutDamaged(f"rollout {path} builds on {base.thread_id}, which is missing")
        if len(chain) >= _MAX_CHAIN:
            raise RolloutDamaged(f"rollout {path} builds on itself")
        chain.append((found, base))
        base = read_meta(found).history_base
    return chain[::-1]


class _Reader:
    def __init__(self, *, paginated: bool) -> None:
        self.paginated = paginated
        self.prompt = Prompt()
        self.turns = TurnBuilder()
        self.tokens: TokenInfo | None = None
        self.context: TurnContext | None = None
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
            case "event_msg":
                if tag := decode_as(EventTag, line.payload):
                    self.take_event(number, tag.type, line.payload)
            case "turn_context":
                context = decode_as(TurnContext, line.payload)
                policy = context.sandbox_policy if context else None
                self.context_is_old = isinstance(policy, dict) and "mode" in policy
                self.context = context or self.context
            case "compacted":
                if compacted := decode_as(Compacted, line.payload):
                    self.prompt.compact(compacted)
            case _:
                pass

    def take_event(self, number: int, kind: str, payload: msgspec.Raw) -> None:
        if kind == "token_count":
            count = decode_as(TokenCount, payload)
            if count is not None and count.info is not None:
                self.tokens = count.info
            return
        self.turns.feed(number, kind, payload, paginated=self.paginated)
        if self.turns.rolled_back:
            self.prompt.drop_turns(self.turns.rolled_back)
            self.turns.rolled_back = 0


def _lines(file: BinaryIO, end: int | None) -> Iterator[bytes]:
    if end is None:
        yield from file
        return
    left = min(end, os.fstat(file.fileno()).st_size)
    while left > 0 and (raw := file.readline(left)):
        left -= len(raw)
        yield raw
