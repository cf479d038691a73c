"""How processes ended, asked of the kernel by their descriptors or told by who waited for them."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable

from supervisor.launcher import Exit

__all__ = ["exit_of", "reaped", "wait_for_ends"]


def reaped(pidfd: int) -> Exit | None:
    """How a child of ours has ended, which is reaped by that; None if it is not ours, or lives."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except OSError:
        return None
    if found is None:
        return None
    return Exit(code=found.si_status) if found.si_code == os.CLD_EXITED else Exit(signal=found.si_status)


def exit_of(status: int, max_rss_kib: int | None = None) -> Exit:
    """What a status of `os.waitpid` says."""
    if os.WIFSIGNALED(status):
        return Exit(signal=os.WTERMSIG(status), max_rss_kib=max_rss_kib)
    return Exit(code=os.WEXITSTATUS(status), max_rss_kib=max_rss_kib)


def wait_for_ends(pidfds: Iterable[int], timeout_s: float) -> None:
    """Until all of them have ended, or the time is over; blocks."""
    deadline = time.monotonic() + timeout_s
    for fd in pidfds:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
