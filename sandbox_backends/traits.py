"""What tells whose a process is: its environment when it was started, and the filters it runs under."""

from __future__ import annotations

__all__ = ["environ_has", "filters"]

_ENVIRON_FIELDS = slice(47, 49)
"""Where `env_start` and `env_end` stand in a stat line, counted from the state."""
DEAD = "ZX"


def environ_has(pid: int, mark: bytes) -> bool | None:
    """Whether the process was given this variable; None while an execve is replacing what could tell."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
        if environ:
            return mark in environ.split(b"\0")
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return False
    fields = line[line.rindex(b")") + 2 :].split()
    start, end = map(int, fields[_ENVIRON_FIELDS])
    # Both are 0 until the new program has its stack, and apart when it got it just after we read: ask again then.
    in_exec = start == 0 or start != end
    return None if in_exec and fields[0].decode() not in DEAD else False


def filters(pid: int) -> int:
    """How many seccomp filters a process runs under; it cannot hide them."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(b"Seccomp_filters:")), 0)
    except OSError:
        return 0
