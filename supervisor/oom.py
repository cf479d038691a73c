"""Whether the kernel has just ended somebody because memory was short: then a SIGKILL that nobody sent has a name.

The kernel counts such ends (`oom_kill` in /proc/vmstat) and does not say to whom; at one end a second the guess is right.
"""

from __future__ import annotations

__all__ = ["OomWatch"]

_COUNTS = "/proc/vmstat"


class OomWatch:
    """`look` is called regularly; `struck` tells of the time since the last look but one."""

    def __init__(self, counts: str = _COUNTS) -> None:
        self._counts = counts
        self._before = self._last = self._count()

    def look(self) -> None:
        self._before, self._last = self._last, self._count()

    def struck(self) -> bool:
        return self._count() > self._before

    def _count(self) -> int:
        try:
            with open(self._counts, "rb") as file:
                return next((int(line.split()[1]) for line in file if line.startswith(b"oom_kill ")), 0)
        except OSError:
            return 0
