"""prctl(2) on the calling process, as far as it concerns its place among processes.

The C library is loaded and its function made once, at import: both are classes of ctypes, and each child of a fork would
make its own.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal

__all__ = ["become_subreaper", "die_with_parent", "outlive_parent", "set_name"]

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def become_subreaper() -> None:
    """Have orphans among our descendants become our children. Inherited by nobody: call it after a fork."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(lifeline: int) -> bool:
    """Be killed when the thread that started this process ends; not inherited. Whether it lives still.

    `lifeline`: the read end of a pipe that it holds open, for the case that it had ended before we asked.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    poll = select.poll()
    poll.register(lifeline, 0)  # a hang-up is told without being asked for
    return not poll.poll(0)


def outlive_parent() -> None:
    """Not be killed any more when it ends."""
    _prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def set_name(name: str) -> None:
    """What `ps` and `top` show, at most 15 bytes of it; cosmetic, so a failure does not matter."""
    _prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
