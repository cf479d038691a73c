"""One process at a time changes the credentials of a home."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from auth.errors import StorageError

__all__ = ["home_lock"]

LOCK_FILE = "auth.lock"
"""Codex holds it (flock) while it logs in, out, or refreshes. It is never removed, or two could hold it."""
PATIENCE_S = 60.0
"""More than any refresh takes, its tries and their time-outs included."""
FIRST_LOOK_S, LONGEST_LOOK_S = 0.005, 0.1


@asynccontextmanager
async def home_lock(home: str) -> AsyncIterator[None]:
    """Hold the lock, not blocking the loop. The system gives it back when this process dies.

    :raises StorageError: it cannot be had.
    """
    path = os.path.join(home, LOCK_FILE)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"cannot lock {path}: {error.strerror}") from error
    try:
        await _acquire(fd, path)
        yield
    finally:
        os.close(fd)


async def _acquire(fd: int, path: str) -> None:
    look = FIRST_LOOK_S
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline:
                raise StorageError(f"another process holds {path} for too long") from None
            await asyncio.sleep(look)
            look = min(look * 2, LONGEST_LOOK_S)
        except OSError as error:
            # A file system without locks (some network ones): one process is then all that is safe.
            raise StorageError(f"cannot lock {path}: {error.strerror}") from error
        else:
            return
