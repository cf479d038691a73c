"""Stopping a worker and its commands for a while, and letting them go on: SIGSTOP and SIGCONT, parents first.

Everything here reads /proc and blocks for milliseconds: not in the loop.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from sandbox_backends.tree import children, look

__all__ = ["freeze", "thaw"]


def freeze(pid: int) -> int:
    """How many processes were stopped. Looks again until nothing new appears: what is stopped may have forked before."""
    seen: set[int] = set()
    while fresh := [one for one in _family(pid) if one not in seen]:
        for one in fresh:
            seen.add(one)
            _send(one, signal.SIGSTOP)
    return len(seen)


def thaw(pid: int) -> int:
    family = _family(pid)
    for one in reversed(family):
        _send(one, signal.SIGCONT)
    return len(family)


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        found += [child for child in children(one) if child not in found]
    return found


def _send(pid: int, number: int) -> None:
    """To the process that is there now: between looking and sending its number cannot have become another's."""
    with suppress(OSError):
        fd = os.pidfd_open(pid)
        try:
            if look(pid) is not None:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
