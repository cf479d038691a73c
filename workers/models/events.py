"""What a model says, as the turn loop reads it: the same events for every wire API.

A response is `Created`, then items, then `Completed`, then `RateLimits`. An item is announced by `MessageStarted`
or `ReasoningStarted`, grows by deltas, and is settled by `ItemDone`; calls come as `ItemDone` alone, and so may a
message. `RateLimits` closes every response of status 200: after `Completed`, or where the stream failed before
`Retrying` or the exception, which is where the peer tells its clients. After `Retrying` a new response begins and
the items left open stay so.
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.turns import CodexErrorInfo

__all__ = [
    "Completed",
    "Created",
    "ItemDone",
    "MessageStarted",
    "ModelEvent",
    "RateLimits",
    "ReasoningDelta",
    "ReasoningStarted",
    "Retrying",
    "SearchStarted",
    "SummaryDelta",
    "SummaryPartAdded",
    "TextDelta",
    "TokenUsage",
]


class TokenUsage(msgspec.Struct, frozen=True):
    """Tokens of one response. `cached_input` and `cache_write_input` are part of `input`, `reasoning_output` of `output`."""

    input: int = 0
    cached_input: int = 0
    cache_write_input: int = 0
    output: int = 0
    reasoning_output: int = 0
    total: int = 0


class Created(msgspec.Struct, frozen=True):
    response_id: str


class MessageStarted(msgspec.Struct, frozen=True):
    """`phase`: `"commentary"`, `"final_answer"` or None where the model does not say."""

    item_id: str
    phase: str | None = None


class TextDelta(msgspec.Struct, frozen=True):
    item_id: str
    delta: str


class ReasoningStarted(msgspec.Struct, frozen=True):
    item_id: str


class SummaryPartAdded(msgspec.Struct, frozen=True):
    item_id: str
    index: int


class SummaryDelta(msgspec.Struct, frozen=True):
    item_id: str
    index: int
    delta: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """Raw thoughts, not the summary."""

    item_id: str
    index: int
    delta: str


class SearchStarted(msgspec.Struct, frozen=True):
    """The provider searches the web. `action` in stored form, None while it is not known."""

    item_id: str
    action: Any = None


class ItemDone(msgspec.Struct, frozen=True):
    """A finished item in Responses form (message, reasoning, function_call, custom_tool_call, ...).

    What it says holds, whatever the deltas said; it is what goes into the history.
    """

    item: dict[str, Any]


class Completed(msgspec.Struct, frozen=True):
    """`usage` is None where the server did not count."""

    response_id: str
    usage: TokenUsage | None


class RateLimits(msgspec.Struct, frozen=True):
    """`snapshot` has the form of `account/rateLimits/updated`."""

    snapshot: dict[str, Any]


class Retrying(msgspec.Struct, frozen=True):
    """The response failed and is asked for again: what the `error` notification with `willRetry` says."""

    message: str
    info: CodexErrorInfo
    details: str


ModelEvent = (
    Created
    | MessageStarted
    | TextDelta
    | ReasoningStarted
    | SummaryPartAdded
    | SummaryDelta
    | ReasoningDelta
    | SearchStarted
    | ItemDone
    | Completed
    | RateLimits
    | Retrying
)
