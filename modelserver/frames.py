"""What an answer is made of on its way to the client: encoded events, pauses, a break.

Both APIs turn a performance into an iterator of frames; whoever writes to the socket takes all bytes up to the
next pause together, so a stream costs a write per pause and not a write per event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import msgspec

from modelserver.actions import Stream

__all__ = ["FOREVER", "PARTIAL", "Answer", "Break", "Frame", "Pause", "numbered", "pieces", "words"]


class Pause(msgspec.Struct, frozen=True):
    """Silence for some seconds; the bytes before it are sent first."""

    seconds: float


class Break(msgspec.Struct, frozen=True):
    """The end of the body before its time: closed in order when clean, torn otherwise."""

    clean: bool


Frame: TypeAlias = bytes | Pause | Break
FOREVER = Pause(float("inf"))
PARTIAL = "A partial answer "
"""What `!hang` and `!cut` send of the message that they never finish."""

_PIECE = 64
"""Characters of arguments or of a patch in one delta; small, so that clients have to join them."""
_WORD = re.compile(r"\s*\S+\s*|\s+")


class Answer(Protocol):
    """An answer in the words of one API. `result` and `error` mean something once all frames were taken."""

    result: dict[str, Any]
    """The whole answer as one object, for a client that did not ask for a stream."""
    error: dict[str, str] | None
    """The code and message of a failed answer, where the API's object has no room for them."""

    def frames(self) -> Iterator[Frame]: ...


def words(text: str) -> list[str]:
    """Split a text into deltas; joined they are the text again."""
    return _WORD.findall(text)


def pieces(text: str) -> Iterator[str]:
    """Split arguments or input into deltas; joined they are the text again."""
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def numbered(stream: Stream) -> Iterator[str]:
    """Make the words of a `!stream`: `w0001 `, `w0002 `, ..., the last one without the space."""
    for number in range(1, stream.count):
        yield f"w{number:04d} "
    yield f"w{stream.count:04d}"
