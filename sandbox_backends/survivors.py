"""What outlives its command: noticed when it ends, without polling, and reaped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

from sandbox_backends.tree import Process, reap

__all__ = ["Survivors"]


class Survivors:
    """One pidfd per surviving member of a family whose first was `root`; `alive` tells who there is, and reaps."""

    def __init__(self, root: int, alive: Callable[[], list[Process]]) -> None:
        self._root = root
        self._alive = alive
        self._loop = asyncio.get_running_loop()
        self._fds: dict[int, int] = {}

    def add(self, running: Iterable[Process]) -> None:
        for process in running:
            if process.pid in self._fds or process.pid == self._root:
                continue
            try:
                fd = os.pidfd_open(process.pid)
            except OSError:
                continue  # gone, or no descriptors left; `end` and `reap_strays` find it still
            self._fds[process.pid] = fd
            self._loop.add_reader(fd, self._gone, process.pid)

    def _gone(self, pid: int) -> None:
        self._drop(pid)
        reap(pid)
        self.add(self._alive())

    def _drop(self, pid: int) -> None:
        fd = self._fds.pop(pid)
        self._loop.remove_reader(fd)
        os.close(fd)

    def stop(self) -> None:
        for pid in tuple(self._fds):
            if self._loop.is_closed():
                os.close(self._fds.pop(pid))
            else:
                self._drop(pid)
