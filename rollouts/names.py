"""Names of threads: `session_index.jsonl`, to which lines are added; the last one of a thread counts."""

from __future__ import annotations

import fcntl
import os
import time
from datetime import UTC, datetime

import msgspec

from rollouts.errors import InvalidName
from rollouts.layout import Home
from rollouts.lines import decode_as

__all__ = ["Names"]


class _NameLine(msgspec.Struct):
    id: str
    thread_name: str
    updated_at: str = ""


class Names:
    """Keeps what was read; `refresh` reads only what was added since.

    `pending` are the names that are new or changed and not yet settled by whoever keeps a copy of them.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._names: dict[str, str] = {}
        self.pending: dict[str, str] = {}
        self._file: tuple[int, int] | None = None  # device and inode of what was read
        self._read = 0

    def get(self, thread_id: str) -> str | None:
        return self._names.get(thread_id)

    def refresh(self) -> None:
        try:
            fd = os.open(self._home.names, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            stat = os.fstat(fd)
            if self._file != (stat.st_dev, stat.st_ino) or stat.st_size < self._read:
                self._file, self._read = (stat.st_dev, stat.st_ino), 0
            if stat.st_size == self._read:
                return
            data = os.pread(fd, stat.st_size - self._read, self._read)
        finally:
            os.close(fd)
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for raw in whole.split(b"\n"):
            line = decode_as(_NameLine, raw) if raw else None
            if line is not None and self._names.get(line.id) != line.thread_name:
                self._names[line.id] = self.pending[line.id] = line.thread_name

    def settle(self, names: dict[str, str]) -> None:
        for thread_id, name in names.items():
            if self.pending.get(thread_id) == name:
                del self.pending[thread_id]

    def set(self, thread_id: str, name: str) -> None:
        """Raises InvalidName: `thread name must not be empty`."""
        name = name.strip()
        if not name:
            raise InvalidName("thread name must not be empty")
        updated_at = datetime.fromtimestamp(time.time(), UTC).isoformat().replace("+00:00", "Z")
        line = msgspec.json.encode(_NameLine(thread_id, name, updated_at)) + b"\n"
        with open(self._home.names_lock, "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fd = os.open(self._home.names, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) != b"\n":  # someone died while writing
                    line = b"\n" + line
                os.write(fd, line)
            finally:
                os.close(fd)
