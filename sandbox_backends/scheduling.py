"""Having the processes that clients wait for run as soon as they are woken, whatever commands are doing.

The kernel lets a running process finish its slice of some milliseconds before one that was woken gets the processor,
and a turn wakes a dozen processes one after the other. Who asks for shorter slices is let in at once (Linux 6.12); it gets
no more processor time by that. Niceness does not help where the kernel groups processes by session, since a command
has a session of its own.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

__all__ = ["be_prompt"]

SLICE_NS = 100_000
"""The shortest the kernel takes."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SCHED_OTHER = 0
_RESET_ON_FORK = 1
"""What we start gets slices as all others."""
_ATTRIBUTES = "=IIQiIQQQ"
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period."""
_syscall = ctypes.CDLL(None, use_errno=True).syscall
"""Made once, at import: it is a class, which each child of a fork would make anew."""


def be_prompt() -> None:
    """Ask for it, for the calling thread; where the kernel does not know of it nothing changes.

    Of two threads of Python's, both have to ask: one that is put aside with the interpreter in its hands holds up the other.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    size = struct.calcsize(_ATTRIBUTES)
    attributes = struct.pack(_ATTRIBUTES, size, _SCHED_OTHER, _RESET_ON_FORK, nice, 0, SLICE_NS, 0, 0)
    _syscall(ctypes.c_long(number), 0, attributes, 0)
