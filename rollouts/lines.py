"""The lines of a rollout.

A line is `{"timestamp", "ordinal", "type", "payload", "metadata"}`; the payload stays raw until someone wants it,
so a type or key that is not known here costs nothing and is kept. Files of 0.58 have neither ordinal nor metadata.
Field names are those of the file.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import msgspec

from protocol.base import UNSET, Absent

__all__ = [
    "Compacted",
    "Entry",
    "EventTag",
    "HistoryBase",
    "ItemCompleted",
    "ItemTag",
    "Line",
    "SessionMeta",
    "SettingsApplied",
    "TaskComplete",
    "TaskStarted",
    "TokenCount",
    "TokenInfo",
    "TokenUsage",
    "TurnAborted",
    "TurnContext",
    "decode_as",
    "decode_line",
    "encode_line",
    "renumber",
    "timestamp",
]

T = TypeVar("T")


class Line(msgspec.Struct):
    """One line of a rollout as it is read; `timestamp` is RFC 3339, `ordinal` is None in a file without pages."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    timestamp: str | None = None
    ordinal: int | None = None


class Entry(msgspec.Struct, frozen=True):
    """A line to be written: what a caller decides of it. `payload` is anything msgspec encodes to an object."""

    type: str
    payload: Any


class _Stored(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A payload: keys with no value are left out."""


class HistoryBase(_Stored, kw_only=True):
    """Where the history before this file is: in segment `thread_id`, up to an ordinal and a byte offset."""

    thread_id: str
    end_ordinal_exclusive: int | None = None
    end_byte_offset: int | None = None


class SessionMeta(_Stored, kw_only=True):
    """`session_meta`, the first line.

    `source`: a word, or an object for sub-agents and custom sources. `dynamic_tools`: as `thread/start` takes them.
    """

    account_scoped: bool | None = None
    session_id: str | None = None
    id: str
    forked_from_id: str | None = None
    forked_from_ordinal_exclusive: int | None = None
    parent_thread_id: str | None = None
    timestamp: str = ""
    cwd: str = ""
    runtime_workspace_roots: list[str] | None = None
    originator: str = ""
    cli_version: str = ""
    source: Any = None
    thread_source: str | None = None
    agent_nickname: str | None = None
    agent_role: str | None = None
    model_provider: str | None = None
    base_instructions: Any = None
    dynamic_tools: Any = None
    history_mode: str | None = None
    history_base: HistoryBase | None = None
    context_window: Any = None
    git: Any = None


class TurnContext(_Stored, kw_only=True):
    """`turn_context`: the settings of a turn. Policies are in the form of the file (see `rollouts.policy`)."""

    turn_id: str | None = None
    root_turn_id: str | None = None
    cwd: str = ""
    approval_policy: Any = None
    approvals_reviewer: str | None = None
    sandbox_policy: Any = None
    permission_profile: Any = None
    active_permission_profile: Any = None
    """Of a sandbox that goes by a name: `{"id": ":read-only"}`."""
    model: str = ""
    effort: str | None = None
    personality: str | None = None
    collaboration_mode: Any = None
    summary: str | None = None
    service_tier: str | None = None


class ThreadSettings(_Stored, kw_only=True):
    """Of `thread_settings_applied`: what holds from here on. Policies are in the form of the file."""

    model: str | None = None
    service_tier: str | None = None
    approval_policy: Any = None
    approvals_reviewer: str | None = None
    permission_profile: Any = None
    active_permission_profile: Any = None
    cwd: str | None = None
    collaboration_mode: Any = None


class SettingsApplied(_Stored, kw_only=True):
    thread_settings: ThreadSettings


class Compacted(_Stored, kw_only=True):
    """`compacted`: what stands in the model's history for all that was before."""

    message: str = ""
    replacement_history: list[msgspec.Raw] | None = None


class EventTag(msgspec.Struct):
    type: str


class ItemTag(msgspec.Struct):
    """What is needed of a model item to keep calls and outputs paired."""

    type: str
    call_id: str | None = None
    role: str | None = None


class _Event(msgspec.Struct, kw_only=True, tag_field="type", omit_defaults=True):
    pass


class TaskStarted(_Event, kw_only=True, tag="task_started"):
    turn_id: str = ""
    root_turn_id: str | None = None
    started_at: int | None = None
    model_context_window: int | None = None
    collaboration_mode_kind: str | None = None


class TaskComplete(_Event, kw_only=True, tag="task_complete"):
    """`error`: {"message", "codex_error_info"} of a failed turn."""

    turn_id: str = ""
    root_turn_id: str | None = None
    last_agent_message: str | Absent | None = UNSET
    error: Any = None
    started_at: int | None = None
    completed_at: int | None = None
    duration_ms: int | None = None


class TurnAborted(_Event, kw_only=True, tag="turn_aborted"):
    turn_id: str | None = None
    root_turn_id: str | None = None
    reason: str = ""
    started_at: int | None = None
    completed_at: int | None = None
    duration_ms: int | None = None


class ItemCompleted(_Event, kw_only=True, tag="item_completed"):
    thread_id: str = ""
    turn_id: str = ""
    item: msgspec.Raw
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class TokenUsage(msgspec.Struct, kw_only=True):
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0
    total_tokens: int = 0


class TokenInfo(msgspec.Struct, kw_only=True):
    total_token_usage: TokenUsage
    last_token_usage: TokenUsage
    model_context_window: int | None = None


class TokenCount(msgspec.Struct, kw_only=True, tag_field="type", tag="token_count"):
    info: TokenInfo | None = None
    rate_limits: Any = None


_line_decoder = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
# What a decoder raises for bytes that are not what was asked for; a deep nest of brackets ends in RecursionError.
_UNFIT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_line(raw: bytes) -> Line | None:
    """A line, or None if these bytes are none."""
    try:
        return _line_decoder.decode(raw)
    except _UNFIT:
        return None


def decode_as(kind: type[T], raw: bytes | msgspec.Raw) -> T | None:
    """A payload as `kind`, or None if it does not fit."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        value: T = decoder.decode(raw)
    except _UNFIT:
        return None
    return value


def encode_line(entry: Entry, *, stamp: str, ordinal: int | None) -> bytes:
    """One line with its newline. `ordinal` None: the form of 0.58."""
    line: dict[str, Any] = {"timestamp": stamp}
    if ordinal is not None:
        line["ordinal"] = ordinal
    line["type"] = entry.type
    line["payload"] = entry.payload
    return _encoder.encode(line) + b"\n"


def renumber(raw: bytes, ordinal: int | None) -> bytes | None:
    """A line passed on into another file: every key stays, known or not; only the ordinal is new.

    None if these bytes are no line.
    """
    fields = decode_as(dict[str, msgspec.Raw], raw)
    if fields is None or decode_line(raw) is None:
        return None
    if ordinal is None:
        fields.pop("ordinal", None)
    else:
        fields["ordinal"] = msgspec.Raw(str(ordinal).encode())
    return _encoder.encode(fields) + b"\n"


def timestamp(at: float | None = None) -> str:
    """Unix seconds (None: now) as `2026-11-22T16:15:17.857Z`."""
    ms = int((time.time() if at is None else at) * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1000))}.{ms % 1000:03d}Z"
