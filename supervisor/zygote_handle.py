"""A worker as its launcher holds it: by a descriptor of the process, never by a number that may be another's by now."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from supervisor.launcher import Exit
from supervisor.zygote_process import Zygote

__all__ = ["ZygoteHandle"]


class ZygoteHandle:
    """A child of the zygote. `born` is done when its pid is known."""

    def __init__(self, token: bytes, parent: Zygote, loop: asyncio.AbstractEventLoop) -> None:
        self.token = token
        self.parent = parent
        self.pid = 0
        self.pidfd = -1
        self.born: asyncio.Future[int] = loop.create_future()
        self.exited: asyncio.Future[Exit] = loop.create_future()

    @property
    def unreaped(self) -> bool:
        """Whether nobody has taken its status yet, so that its number is not another's."""
        try:
            signal.pidfd_send_signal(self.pidfd, 0)
        except ProcessLookupError:
            return False
        return True

    def signal(self, number: int) -> None:
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)
