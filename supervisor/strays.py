"""What becomes a child of the server though it did not start it: commands of dead workers whose zygote is dead too."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from sandbox_backends import prctl, tree

__all__ = ["Strays"]

ROUNDS, PAUSE_S = 100, 0.005
"""How often strays are looked for before giving up: each round ends a generation of forks."""


class Strays:
    """Makes this process the one that inherits orphans. `known` says which children are none."""

    def __init__(self, known: Callable[[], set[int]]) -> None:
        self._known = known
        self._loop = asyncio.get_running_loop()
        self._soon: asyncio.TimerHandle | None = None
        prctl.become_subreaper()

    def end_soon(self) -> None:
        """End them when the deaths that are known by now have been told; once for all of them."""
        if self._soon is None:
            self._soon = self._loop.call_later(PAUSE_S, self._end_those)

    def _end_those(self) -> None:
        self._soon = None
        self.end()

    def end(self, rounds: int = ROUNDS) -> None:
        """End what no zygote is there to end: commands of dead workers, and workers of whose birth it did not tell.

        They are children of ours in sessions of their own. What we start ourselves stays in our session.
        """
        ours = os.getsid(0)
        known = self._known()
        strays = [pid for pid in tree.children(os.getpid()) if pid not in known]
        found = [
            process for process in map(tree.look, strays) if process is not None and process.session != ours
        ]
        for process in found:
            # Nobody else reaps it, so the number is still this child's.
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        if not found:
            return
        reaped = self._loop.run_in_executor(None, _reap, [process.pid for process in found])
        if rounds:
            reaped.add_done_callback(lambda _: self._loop.call_later(PAUSE_S, self.end, rounds - 1))


def _reap(pids: list[int]) -> None:
    """Those that are dead by now; the kernel may take some 10 ms for it, so not in a loop."""
    for pid in pids:
        tree.reap(pid)
