"""Thread, turn and item ids: UUIDv7, made in order and parsed as strictly as the peer does."""

from __future__ import annotations

import os
import re
import time

from rollouts.errors import InvalidThreadId

__all__ = ["IdSource", "canonical_id", "id_time_ms", "new_id"]

_SIMPLE = re.compile(r"[0-9a-fA-F]{32}\Z")
_HYPHENATED = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\Z")
_URN = "urn:uuid:"
_HEX = frozenset("0123456789abcdefABCDEF")
_GROUP_STARTS = (0, 9, 14, 19, 24)
_GROUP_LENGTHS = (8, 4, 4, 4, 12)
_COUNTER_BITS = 12
_RANDOM_BITS = 62
_VERSION = 7
_VARIANT = 0b10


class IdSource:
    """Makes ids that sort in the order of their making, also within a millisecond and when the clock steps back."""

    def __init__(self) -> None:
        self._stamp = 0

    def make(self) -> str:
        # A random start leaves room to count up within the same millisecond, and keeps forked processes apart.
        fresh = (time.time_ns() // 1_000_000) << _COUNTER_BITS | int.from_bytes(os.urandom(2)) >> 5
        self._stamp = fresh if fresh > self._stamp else self._stamp + 1
        ms, counter = self._stamp >> _COUNTER_BITS, self._stamp & ((1 << _COUNTER_BITS) - 1)
        rest = int.from_bytes(os.urandom(8)) >> (64 - _RANDOM_BITS)
        number = ms << 80 | _VERSION << 76 | counter << 64 | _VARIANT << _RANDOM_BITS | rest
        return _hyphenate(f"{number:032x}")


_source = IdSource()


def new_id() -> str:
    return _source.make()


def id_time_ms(uuid: str) -> int | None:
    """The unix milliseconds a UUIDv7 (canonical form) was made at; None for other versions."""
    if len(uuid) != 36 or uuid[14] != str(_VERSION):
        return None
    return int(uuid[:8] + uuid[9:13], 16)


def canonical_id(text: str) -> str:
    """`text` in lower case with hyphens; also takes 32 digits, `{...}` and `urn:uuid:...`, as the peer does.

    Raises:
        InvalidThreadId: with the wording of Rust's uuid crate.
    """
    inner = text
    if text.startswith("{") and text.endswith("}"):
        inner = text[1:-1]
    elif text.startswith(_URN):
        inner = text[len(_URN) :]
    elif _SIMPLE.match(text):
        return _hyphenate(text.lower())
    if _HYPHENATED.match(inner):
        return inner.lower()
    raise InvalidThreadId(_explain(text))


def _hyphenate(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _explain(text: str) -> str:
    inner, offset, simple = text, 0, True
    if len(text) > 1 and text.startswith("{") and text.endswith("}"):
        inner, offset, simple = text[1:-1], 1, False
    elif text.startswith(_URN):
        inner, offset, simple = text[len(_URN) :], len(_URN), False
    hyphens: list[int] = []
    at = 0  # positions count UTF-8 bytes
    for char in inner:
        if char == "-":
            hyphens.append(at)
        elif char not in _HEX:
            return (
                "invalid character: expected an optional prefix of `urn:uuid:` followed by [0-9a-fA-F-], "
                f"found `{char}` at {at + offset + 1}"
            )
        at += len(char.encode("utf-8", "surrogatepass"))
    if not hyphens and simple:
        return f"invalid length: expected length 32 for simple format, found {len(text)}"
    if len(hyphens) != len(_GROUP_STARTS) - 1:
        return f"invalid group count: expected 5, found {len(hyphens) + 1}"
    for group, end in enumerate(hyphens):
        if end != _GROUP_STARTS[group + 1] - 1:
            return _group(group, end - _GROUP_STARTS[group])
    return _group(4, len(text) - _GROUP_STARTS[4])


def _group(group: int, found: int) -> str:
    return f"invalid group length in group {group}: expected {_GROUP_LENGTHS[group]}, found {found}"
