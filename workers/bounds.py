"""What the kernel holds a thread without a control group to: rlimits of the worker, which its commands inherit.

They count for each process and not for the thread, so they are brakes: what grows faster than the front looks
(`supervisor/limits.py`), which counts all processes of a thread together, does not get far.

- memory: RLIMIT_DATA, twice the limit beyond what a worker begins with. It counts private writable memory; the address
  space (RLIMIT_AS) would stop programs that reserve much and use little, as V8, Go and Java do.
- processor time: RLIMIT_CPU of the worker, anew for each turn. Over it comes SIGXCPU.
- processes: none. RLIMIT_NPROC counts all of the user's, so that one thread would keep others from theirs, and not root's.
- log size: none. RLIMIT_FSIZE would hold for every file, the rollout and what commands build included.
"""

from __future__ import annotations

import math
import resource
import time

__all__ = ["Bounds"]

MEMORY_FACTOR = 2
_KIB, _MIB = 2**10, 2**20


class Bounds:
    """`memory_mib` and `turn_cpu_s` as in `[bulkhead.limits]`; 0 is none."""

    def __init__(self, memory_mib: int, turn_cpu_s: float) -> None:
        self._turn_cpu_s = turn_cpu_s
        if memory_mib:
            _lower(resource.RLIMIT_DATA, _data_bytes() + MEMORY_FACTOR * memory_mib * _MIB)

    def begin_turn(self) -> None:
        """From now on so much processor time, in whole seconds as the kernel counts."""
        if self._turn_cpu_s:
            _lower(resource.RLIMIT_CPU, math.ceil(time.process_time() + self._turn_cpu_s))


def _lower(which: int, soft: int) -> None:
    """The hard limit stays: a later turn's is higher."""
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _data_bytes() -> int:
    """What counts towards RLIMIT_DATA now, much of it shared with the zygote."""
    with open("/proc/self/status", "rb") as file:
        return next((int(line.split()[1]) * _KIB for line in file if line.startswith(b"VmData:")), 0)
