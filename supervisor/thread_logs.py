"""A log file a thread: what its workers print to stdout and stderr, and a line for each birth and end.

Workers write to the file themselves, so that a crash loses nothing. They append; therefore emptying the file under
them is safe: what was in it goes to `<thread>.log.1` when it is over its cap. All files together have a cap too.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["ThreadLogs"]

log = logging.getLogger("bulkhead.thread_logs")

CAP_BYTES = 1024 * 1024
"""Of one file; the one before is kept too."""
TOTAL_BYTES = 64 * 1024 * 1024
"""Of all; the oldest go first."""


class ThreadLogs:
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def path(self, thread_id: str) -> str:
        return os.path.join(self._folder, f"{thread_id}.log")

    def note(self, thread_id: str, text: str) -> None:
        """A line of ours between what the workers print."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            fd = os.open(self.path(thread_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, f"{stamp} bulkhead: {text}\n".encode())
            finally:
                os.close(fd)
        except OSError as error:
            log.warning("the log of thread %s cannot be written: %s", thread_id, error)

    def rotate(self, thread_ids: Iterable[str]) -> dict[str, int]:
        """Rotate what is over the cap; the sizes (bytes) that were found there. Blocks."""
        over: dict[str, int] = {}
        for thread_id in thread_ids:
            path = self.path(thread_id)
            with suppress(OSError):
                size = os.stat(path).st_size
                if size > CAP_BYTES:
                    over[thread_id] = size
                    _keep_the_end(path, size)
        return over

    def bound(self) -> int:
        """Remove the oldest files while all are over the total; what is left in bytes. Blocks."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    status = entry.stat()
                    found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= TOTAL_BYTES:
                break
            with suppress(OSError):
                # Emptied, not unlinked: a worker may still have it open.
                os.truncate(path, 0)
                if path.endswith(".1"):
                    os.unlink(path)
                total -= size
        return total


def _keep_the_end(path: str, size: int) -> None:
    """The last `CAP_BYTES` become the file before. A line printed between copy and cut is lost."""
    with open(path, "rb") as full, open(path + ".1", "wb") as before:
        full.seek(size - CAP_BYTES)
        shutil.copyfileobj(full, before)
        os.truncate(path, 0)
