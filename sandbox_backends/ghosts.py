"""Mount points for protected names that do not exist yet ("ghosts"), on the real file system.

To keep a command from creating `.git`, something must be mounted over that name, and a mount point must exist. We
make it an empty directory, cover it for the length of the command, and remove it after. Two facts shape this:

- rmdir(2) of a directory that is a mount point *in another namespace* succeeds and detaches that mount: of two
  commands in one workspace the first to end would open the name for the second. So every user holds a shared flock(2)
  on the ghost, and only who can make it exclusive removes it. The directory is covered inside each sandbox with that
  root, so the commands themselves cannot reach the lock.
- A killed worker leaves its ghosts behind. They are told from a user's own empty directory by their mode, sticky and
  not writable, given by mkdir(2) itself; the next command in that workspace takes them over and removes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
from collections.abc import Iterable

from sandbox_backends.errors import GhostBusyError

__all__ = ["Ghosts", "is_ghost"]

MODE = 0o1555
PATIENCE = 250
"""Tries, 2 ms apart: whoever holds a ghost exclusively is in the middle of removing it."""
PAUSE_S = 0.002


def is_ghost(path: str, status: os.stat_result) -> bool:
    """Whether the directory `path` (lstat: `status`) is one of ours, left behind or in use by another command."""
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    if not status.st_mode & stat.S_ISVTX or status.st_mode & 0o222:
        return False
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:
        return False


class Ghosts:
    """The ghosts one command holds. `hold` before the sandbox is set up, `release` after its last process ended."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    async def hold(self, paths: Iterable[str]) -> None:
        """Create or join the ghost at each path; all or none. Raises GhostBusyError."""
        try:
            for path in paths:
                await self._join(path)
        except BaseException:
            self.release()
            raise

    async def _join(self, path: str) -> None:
        for _ in range(PATIENCE):
            fd = self._try(path)
            if fd is not None:
                self._held[path] = fd
                return
            await asyncio.sleep(PAUSE_S)
        raise GhostBusyError(path, "another process keeps it locked")

    @staticmethod
    def _try(path: str) -> int | None:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, MODE)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None  # removed between the two calls
        except OSError as error:
            raise GhostBusyError(path, error.strerror or str(error)) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            mine, there = os.fstat(fd), os.lstat(path)
            if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def release(self) -> None:
        """Let go of all; remove those that nobody else holds and that are still empty and ours."""
        while self._held:
            path, fd = self._held.popitem()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine, there = os.fstat(fd), os.lstat(path)
                if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino) and is_ghost(path, there):
                    os.rmdir(path)
            except OSError:
                pass  # in use by another command, which removes it, or no longer ours
            finally:
                os.close(fd)
