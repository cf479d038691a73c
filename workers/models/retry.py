"""When to try again: the back-off of our own, and what servers ask for."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from workers.models.errors import ModelError

__all__ = ["delay_before", "retry_after", "spelled_delay", "wait_for_requests"]

FIRST_DELAY_S = 0.2
LONGEST_BACKOFF_S = 60.0
"""Doubling is of no more use beyond it."""
JITTER = 0.1
LONGEST_WAIT_S = 600.0
"""A server that asks for more is not waited for: a person who looks at the turn is better told at once."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SPELLED = re.compile(
    r"try again in\s+(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|sec|seconds?|m|min|minutes?)\b", re.IGNORECASE
)


def backoff(attempt: int) -> float:
    """Seconds before try number `attempt` + 1, `attempt` counting from 1: 200 ms doubling, ±10 %."""
    exponent = min(attempt - 1, 16)
    delay: float = min(FIRST_DELAY_S * 2**exponent, LONGEST_BACKOFF_S)
    return delay * random.uniform(1 - JITTER, 1 + JITTER)


def delay_before(error: ModelError, attempt: int) -> float | None:
    """Seconds to wait after `error` before the next try; None where the server asks for too long a wait."""
    if error.delay is None:
        return backoff(attempt)
    return error.delay if error.delay <= LONGEST_WAIT_S else None


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Read what `retry-after-ms` or `retry-after` (seconds or a date) says, in seconds; None without, or if unreadable.

    `now` is the unix time a date is compared with.
    """
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        when = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, when - (time.time() if now is None else now))


def wait_for_requests(headers: Mapping[str, str]) -> float | None:
    """Seconds until the provider takes another request, where it says that there is none left: `x-ratelimit-*-requests`.

    The time is spelled as in `1m2.5s`, `250ms`, `6s`.
    """
    if headers.get("x-ratelimit-remaining-requests") != "0":
        return None
    parts = _DURATION.findall(headers.get("x-ratelimit-reset-requests", ""))
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return seconds or None


def spelled_delay(message: str) -> float | None:
    """Find the seconds in "Please try again in 1.5s." (or ms, or minutes), None where nothing like it is said."""
    found = _SPELLED.search(message)
    if found is None:
        return None
    unit = found[2].lower()
    if unit == "ms" or unit.startswith("milli"):
        return float(found[1]) / 1000
    return float(found[1]) * (60 if unit.startswith("m") else 1)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
