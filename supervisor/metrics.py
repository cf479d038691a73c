"""What is counted while the server runs; `exposition` makes text of it.

No library: prometheus-client takes 140 ms to import and brings an HTTP server along, for what are two dozen numbers.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter

__all__ = ["LATENCY_BOUNDS", "Histogram", "LoopLag", "Metrics"]

LATENCY_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Seconds: from a scripted model's first word to the longest turns."""
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LAG_LOOK_S = 0.5


class Histogram:
    """`counts[i]` values were at most `bounds[i]`, and more than the bound before; the last had none."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        """By method; unknown ones are counted together."""
        self.turns = Histogram(LATENCY_BOUNDS)
        self.first_tokens = Histogram(LATENCY_BOUNDS)
        self.lag = Histogram(LAG_BOUNDS)
        self.deaths = Histogram(LAG_BOUNDS)
        """From a worker's death, as it is known here, to the word on its turn's end."""


class LoopLag:
    """How late the front's loop is: a timer that looks at the clock."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        self._due = self._loop.time() + LAG_LOOK_S
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._histogram.observe(max(0.0, self._loop.time() - self._due))
        self.start()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
