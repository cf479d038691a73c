"""Pseudo-terminals for commands that want one."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from functools import lru_cache

__all__ = ["job_control", "open_terminal", "resize"]

DEFAULT_SIZE = (24, 80)
"""Rows and columns of a terminal nobody gave a size."""
SETSID = ("/usr/bin/setsid", "/bin/setsid")


@lru_cache(maxsize=1)
def job_control() -> tuple[str, ...]:
    """What to put before a command so that the terminal on fd 0 becomes its own: job control, ^C and ^Z then work.

    Empty where util-linux is missing: the command runs on the terminal, but its shell says "no job control".
    """
    for path in SETSID:
        if os.access(path, os.X_OK) and os.path.basename(os.path.realpath(path)) == "setsid":
            # (busybox has the applet, but not the options)
            return (path, "-c", "-w")
    return ()


def open_terminal(size: tuple[int, int] | None) -> tuple[int, int]:
    """(master, slave), both closed on exec; the master does not block."""
    master, slave = os.openpty()
    try:
        resize(master, size or DEFAULT_SIZE)
        os.set_blocking(master, False)
    except BaseException:
        os.close(master)
        os.close(slave)
        raise
    return master, slave


def resize(fd: int, size: tuple[int, int]) -> None:
    """Set (rows, columns); the kernel tells the foreground job by SIGWINCH."""
    rows, columns = size
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
