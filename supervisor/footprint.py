"""What processes use, as /proc tells it. All of this blocks for about a millisecond a process: not in the loop."""

from __future__ import annotations

import os

import msgspec

from sandbox_backends.tree import children

__all__ = ["Footprint", "footprint", "private_bytes"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_KIB = 1024


class Footprint(msgspec.Struct):
    """A worker and all below it: resident memory (bytes), processes, processor time (seconds, of the ended too)."""

    memory: int = 0
    processes: int = 0
    cpu: float = 0.0


def private_bytes(pid: int) -> int | None:
    """The memory of one process without what it shares, e.g. with the zygote; None where nobody can tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(b"Private_")) * _KIB
    except (OSError, IndexError, ValueError):
        return None


def footprint(pid: int) -> Footprint | None:
    """None if the process is gone. Its own memory counts without what it shares, that of its commands as resident."""
    own = private_bytes(pid)
    if own is None:
        return None
    total = Footprint(memory=own)
    queue, seen = [pid], set()
    while queue:
        one = queue.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            with open(f"/proc/{one}/stat", "rb") as file:
                fields = file.read().rsplit(b") ", 1)[1].split()
        except (OSError, IndexError):
            continue
        total.processes += 1
        total.cpu += sum(map(int, fields[11:15])) / _TICKS
        if one != pid:
            total.memory += int(fields[21]) * _PAGE
        queue += children(one)
    return total
