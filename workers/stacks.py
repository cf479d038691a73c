"""A file a worker for dumps of its stack, named by its pid: open from its start, empty unless somebody has asked."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["drop_empty", "stack_path"]


def stack_path(folder: str, pid: int) -> str:
    return os.path.join(folder, str(pid))


def drop_empty(folder: str, pid: int) -> None:
    """The worker has ended; its file stays only if there is something in it."""
    path = stack_path(folder, pid)
    with suppress(OSError):
        if os.stat(path).st_size == 0:
            os.unlink(path)
