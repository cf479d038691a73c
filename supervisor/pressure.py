"""How short memory is, as the kernel tells it (PSI).

some avg10=1.23 avg60=0.80 avg300=0.20 total=12345
full avg10=0.40 avg60=0.10 avg300=0.00 total=2345
"""

from __future__ import annotations

__all__ = ["waited_for_memory"]


def waited_for_memory(path: str) -> float:
    """The share (percent) of the last 10 s in which somebody waited for memory; 0 where nobody can tell.

    `path`: `/proc/pressure/memory`, or the `memory.pressure` of a control group.
    """
    try:
        with open(path, encoding="ascii") as file:
            some = next(line for line in file if line.startswith("some "))
        return next(float(field[6:]) for field in some.split() if field.startswith("avg10="))
    except (OSError, ValueError, StopIteration):
        return 0.0
