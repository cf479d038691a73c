"""What a launcher is: the seam between a thread's worker and where it runs.

The local zygote stands behind it today; an engine that places hosts elsewhere would hand out the same handles.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

__all__ = ["Exit", "Handle", "LaunchError", "Launcher", "LauncherLost"]


class LaunchError(RuntimeError):
    """No process could be made (limits of the system, or the zygote does not come up)."""


class LauncherLost(LaunchError):
    """What makes the processes ended meanwhile; the next attempt finds a new one."""


class Exit(msgspec.Struct, frozen=True):
    """The end of a process as the system tells it; both None when nobody could be asked."""

    code: int | None = None
    signal: int | None = None
    max_rss_kib: int | None = None


class Handle(Protocol):
    """One process. A handle is bound to its incarnation: it never reaches a successor, whatever the pid."""

    @property
    def token(self) -> bytes:
        """The identity with which the process connects: 128 random bits, never used again."""

    @property
    def pid(self) -> int: ...

    @property
    def exited(self) -> asyncio.Future[Exit]:
        """Done within milliseconds of the end of the process."""

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process; does nothing once it has ended."""


class Launcher(Protocol):
    async def launch(self) -> Handle:
        """A new process that will connect to the hub and wait to be adopted.

        Raises:
            LaunchError: no process can be had.
        """

    async def close(self) -> None:
        """End everything that was launched and has not ended yet."""
