"""The lock that makes one process the writer of a thread; the same one that Codex 0.169 takes.

`thread-writer-locks/<thread>.lock` is held with an exclusive flock for as long as the thread is written. The lock
file is made and removed only under a short flock of `.coordination.lock` (shared to make, exclusive to remove), so
nobody can lock a file that has just been unlinked.
"""

from __future__ import annotations

import fcntl
import os
import time
from types import TracebackType
from typing import Self

from rollouts.errors import WriterBusy
from rollouts.layout import Home
from rollouts.lease import drop_lease, foreign_holder

__all__ = ["WriterLock"]

_COORDINATION = ".coordination.lock"
# The coordination lock is held for microseconds. A process stopped while it holds it must not stop us for ever.
_COORDINATION_PATIENCE = 2.0
_COORDINATION_PAUSE = 0.002


class WriterLock:
    """Held from construction until `release`.

    Raises:
        WriterBusy: the thread has a writer (here or in another process), or another server has it loaded.
        OSError: the lock folder cannot be used.
    """

    def __init__(self, home: Home, thread_id: str) -> None:
        self._home = home
        self.thread_id = thread_id
        self._path = home.locks / f"{thread_id}.lock"
        os.makedirs(home.locks, exist_ok=True)
        coordination = self._coordinate(fcntl.LOCK_SH)
        if coordination is None:
            raise WriterBusy(thread_id)
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(fd)
                os.close(fd)
                raise WriterBusy(thread_id, holder) from None
            except BaseException:
                os.close(fd)
                raise
        finally:
            os.close(coordination)
        self._fd: int | None = fd
        asleep = foreign_holder(home, thread_id)
        if asleep is not None:
            self.release()
            raise WriterBusy(thread_id, asleep)
        if home.server:
            drop_lease(home, thread_id)  # ours, or a dead server's

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Gives the thread free; a second call does nothing."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            # Left behind, the file is harmless: who wants the lock next takes it over.
            coordination = self._coordinate(fcntl.LOCK_EX)
            if coordination is not None:
                try:
                    os.unlink(self._path)
                except FileNotFoundError:
                    pass
                finally:
                    os.close(coordination)
        except OSError:
            pass  # as above: the folder may be gone or read-only by now
        finally:
            os.close(fd)

    def _coordinate(self, mode: int) -> int | None:
        fd = os.open(self._home.locks / _COORDINATION, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        give_up = time.monotonic() + _COORDINATION_PATIENCE
        while True:
            try:
                fcntl.flock(fd, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    os.close(fd)
                    return None
                time.sleep(_COORDINATION_PAUSE)
            except BaseException:
                os.close(fd)
                raise
            else:
                return fd


def _holder(fd: int) -> int | None:
    """The process that holds a flock, from /proc/locks: `1: FLOCK ADVISORY WRITE 7656 fe:00:1482868 0 EOF`."""
    inode = str(os.fstat(fd).st_ino)
    try:
        with open("/proc/locks") as table:
            for line in table:
                fields = line.split()
                if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                    return int(fields[4])
    except (OSError, ValueError):
        return None
    return None
