"""What the turns of a thread with a goal cost: tokens and seconds, added up as they come."""

from __future__ import annotations

import asyncio
import time

from protocol.notifications import TokenUsage

__all__ = ["Costs"]


class Costs:
    def __init__(self) -> None:
        self.counted = asyncio.Event()
        """Whether the cost of the model's last response is known."""
        self._tokens = 0
        self._seconds = 0.0
        self._since: float | None = None

    def turn_began(self) -> None:
        self._tokens = 0
        self._since = time.monotonic()

    def turn_over(self) -> None:
        self._since = None

    def response_began(self) -> None:
        self.counted.clear()

    def response_ended(self, usage: TokenUsage | None) -> None:
        """Cached input costs next to nothing, so it does not count."""
        if usage is not None:
            self._tokens += max(0, usage.input_tokens - usage.cached_input_tokens) + usage.output_tokens
        self.counted.set()

    def forget(self) -> None:
        """What came so far belongs to no goal."""
        self._tokens = 0
        self._seconds = 0.0
        if self._since is not None:
            self._since = time.monotonic()

    def take(self) -> tuple[int, int]:
        """The tokens and whole seconds since it was asked last; what is left of a second counts the next time."""
        if self._since is not None:
            now = time.monotonic()
            self._seconds += now - self._since
            self._since = now
        tokens, seconds = self._tokens, int(self._seconds)
        self._tokens = 0
        self._seconds -= seconds
        return tokens, seconds
