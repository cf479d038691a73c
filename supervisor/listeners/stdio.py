"""The client that started us, at the other end of stdin and stdout."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from supervisor.channel import LineChannel

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["StdioListener"]


class StdioListener:
    """`gone` is called when the client has closed its end."""

    url = "stdio://"

    def __init__(self, front: Front, read_fd: int, write_fd: int, gone: Callable[[], None]) -> None:
        def last() -> None:
            os.close(read_fd)
            os.close(write_fd)

        channel = LineChannel(read_fd, write_fd, last=last)
        self._connection = front.attach("stdio", channel, lambda _: gone())

    def close(self) -> None:
        """It may still read what it is owed."""

    def let_go(self) -> None:
        self._connection.close()
