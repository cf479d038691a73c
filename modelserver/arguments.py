"""The arguments of directives: one reader for each kind."""

from __future__ import annotations

import re
from typing import TypeVar, overload

import msgspec

from modelserver.actions import Plan, PlanEntry, PlanStatus, Status, Stdin, Stream, Tool, Usage

__all__ = [
    "ArgumentError",
    "clean",
    "count",
    "headers",
    "nothing",
    "pair",
    "plan",
    "seconds",
    "status",
    "stdin",
    "stream",
    "text",
    "tool",
    "usage",
]

T = TypeVar("T")

MAX_SECONDS = 3600.0
MAX_WORDS = 1_000_000
MAX_TOKENS = 10**12
MAX_SESSION = 2**31

_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)=([\x21-\x7e]*)")
_FRAMING = {"connection", "content-length", "content-type", "transfer-encoding"}
"""Set by the server; a second value would break the HTTP response instead of testing a client."""
_PLAN_ENTRY = re.compile(r"\[([x> ])\][ \t]*(.+)")
_PLAN_MARKS: dict[str, PlanStatus] = {"x": "completed", ">": "in_progress", " ": "pending"}


class ArgumentError(Exception):
    """Says what is wrong with an argument; the reader of the script adds line and directive."""


def text(rest: str) -> str:
    if not rest:
        raise ArgumentError("something must follow it")
    return rest


@overload
def nothing(rest: str) -> None: ...
@overload
def nothing(rest: str, value: T) -> T: ...
def nothing(rest: str, value: T | None = None) -> T | None:
    if rest:
        raise ArgumentError(f"takes nothing, not `{_short(rest)}`")
    return value


def count(rest: str, largest: int, smallest: int = 1) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", rest) or not smallest <= int(rest) <= largest:
        raise ArgumentError(f"wants a whole number from {smallest} to {largest}, not `{_short(rest)}`")
    return int(rest)


def seconds(rest: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", rest) or float(rest) > MAX_SECONDS:
        raise ArgumentError(f"wants seconds from 0 to {MAX_SECONDS:g}, not `{_short(rest)}`")
    return float(rest)


def pair(rest: str, form: str) -> tuple[str, str]:
    first, _, second = rest.partition(" ")
    if not first or not second.strip():
        raise ArgumentError(f"wants {form}")
    return first, second.strip()


def clean(rest: str) -> bool:
    if rest not in {"", "clean"}:
        raise ArgumentError(f"takes nothing or `clean`, not `{_short(rest)}`")
    return rest == "clean"


def stream(rest: str) -> Stream:
    words = rest.split()
    if len(words) not in {1, 2}:
        raise ArgumentError("wants N [SECONDS_BETWEEN]")
    return Stream(count(words[0], MAX_WORDS), seconds(words[1]) if len(words) > 1 else 0.0)


def plan(rest: str) -> Plan:
    entries = []
    for piece in rest.split(";"):
        found = _PLAN_ENTRY.fullmatch(piece.strip())
        if found is None:
            raise ArgumentError(f"wants `[x] done; [>] doing; [ ] to do`, not `{_short(piece)}`")
        entries.append(PlanEntry(found[2], _PLAN_MARKS[found[1]]))
    return Plan(tuple(entries))


def stdin(rest: str) -> Stdin:
    first, _, raw = rest.partition(" ")
    session = None if first == "last" else count(first, MAX_SESSION, 0)
    if not raw:
        return Stdin(session, "")
    if raw.startswith('"'):
        try:
            return Stdin(session, msgspec.json.decode(raw, type=str))
        except (msgspec.DecodeError, RecursionError) as error:
            raise ArgumentError(f"the quoted text is no JSON string: {error}") from None
    return Stdin(session, raw + "\n")


def tool(rest: str) -> Tool:
    name, _, raw = rest.partition(" ")
    if not name:
        raise ArgumentError("wants NAME {json}")
    return Tool(name, raw.strip() or "{}")


def usage(rest: str) -> Usage:
    words = rest.split()
    if not 2 <= len(words) <= 4:
        raise ArgumentError("wants IN OUT [CACHED [REASONING]]")
    numbers = [count(word, MAX_TOKENS, 0) for word in words]
    return Usage(*numbers, *[0] * (4 - len(numbers)))


def headers(rest: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for word in text(rest).split():
        found = _HEADER.fullmatch(word)
        if found is None or found[1].lower() in _FRAMING:
            raise ArgumentError(f"wants name=value of a response header, not `{_short(word)}`")
        pairs.append((found[1].lower(), found[2]))
    return tuple(pairs)


def status(rest: str, *, once: bool) -> Status:
    code, _, tail = rest.partition(" ")
    before, brace, body = tail.partition("{")
    if brace:
        try:
            msgspec.json.decode(brace + body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ArgumentError(f"the body is no JSON: {error}") from None
    return Status(
        count(code, 599, 400),
        headers(before.strip()) if before.strip() else (),
        brace + body if brace else None,
        once,
    )


def _short(rest: str) -> str:
    flat = rest.strip()
    return flat if len(flat) <= 40 else f"{flat[:40]}…"
