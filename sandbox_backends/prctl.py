"""prctl(2) on the calling process, as far as it concerns its place among processes.

The C library is loaded and its function made once, at import: both are classes of ctypes, and each child of a fork would
make its own.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["become_subreaper", "set_name"]

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def become_subreaper() -> None:
    """Have orphans among our descendants become our children. Inherited by nobody: call it after a fork."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def set_name(name: str) -> None:
    """What `ps` and `top` show, at most 15 bytes of it; cosmetic, so a failure does not matter."""
    _prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
