"""What is said right after the result of a request: a handler returns the result and names what follows it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

__all__ = ["after", "begin", "say"]

_later: ContextVar[list[Callable[[], None]]] = ContextVar("later")
"""Of the request that this task works on."""


def after(say: Callable[[], None]) -> None:
    """Say something right after the result that the running handler returns; not after an error."""
    _later.get().append(say)


def begin() -> list[Callable[[], None]]:
    """The list that `after` fills, for a request that a handler is about to answer."""
    later: list[Callable[[], None]] = []
    _later.set(later)
    return later


def say(later: list[Callable[[], None]]) -> None:
    for word in later:
        word()
