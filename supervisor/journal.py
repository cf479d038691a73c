"""What supervision did and why: one JSON object a line, in a capped file, and counted for the metrics.

    {"time": 1795385000.123, "event": "worker-ended", "thread": "01a2...", "epoch": 2, "pid": 15164, "reason": "hung"}

`time` is in unix seconds. When the file is full it becomes `events.jsonl.1`, and a new one is begun.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import Counter
from typing import Any

import msgspec

__all__ = ["Journal"]

log = logging.getLogger("bulkhead.journal")

CAP_BYTES = 4 * 1024 * 1024
"""About 20,000 events; the file before is kept too."""
_encode = msgspec.json.Encoder().encode


class Journal:
    def __init__(self, path: str) -> None:
        self.path = path
        self.counts: Counter[tuple[str, str]] = Counter()
        """How often each event happened, by its reason (empty for events that need none)."""
        self._fd = -1
        self._size = 0

    def note(self, event: str, thread: str | None = None, *, reason: str = "", **fields: Any) -> None:
        """Write down one event; a full disk loses the line and nothing else."""
        self.counts[event, reason] += 1
        line: dict[str, Any] = {"time": round(time.time(), 3), "event": event}
        if thread is not None:
            line["thread"] = thread
        line.update({name: value for name, value in fields.items() if value is not None})
        if reason:
            line["reason"] = reason
        try:
            self._write(_encode(line) + b"\n")
        except OSError as error:
            log.warning("the journal cannot be written: %s", error)

    def _write(self, line: bytes) -> None:
        if self._fd >= 0 and self._size + len(line) > CAP_BYTES:
            self.close()
            os.replace(self.path, self.path + ".1")
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._fd).st_size
        written = os.write(self._fd, line)
        if written < len(line):
            # The next line would stand behind half of this one.
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
