"""Writing a thread: one process at a time, whole batches of lines, a file only once there is something to keep."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from rollouts.chain import read_meta
from rollouts.entries import ItemEntry
from rollouts.errors import ForeignWrite, RolloutDamaged
from rollouts.ids import canonical_id
from rollouts.layout import Home, home_of
from rollouts.legacy import events_of
from rollouts.lines import Entry, ItemCompleted, SessionMeta, decode_line, encode_line, renumber, timestamp
from rollouts.lock import WriterLock
from rollouts.stored_items import stored_item
from rollouts.tail import begun, lines_backwards, mend

__all__ = ["RolloutWriter"]


class RolloutWriter:
    """The one writer of a thread; holds its lock until `close`.

    Made by `create` (a new thread; the file comes with the first `append`) or `resume` (an existing file, whose
    torn end is mended first). Not for use from several threads.
    """

    def __init__(self, lock: WriterLock, path: Path, meta: SessionMeta) -> None:
        self._lock = lock
        self._fd: int | None = None
        self._size = 0
        self._ordinal: int | None = 0
        self._new_folder = False
        self.path = path
        self.meta = meta

    @classmethod
    def create(cls, home: Home, meta: SessionMeta, *, created_at: float) -> Self:
        """A thread that is not stored yet; `created_at` (unix seconds) names the file.

        Raises:
            WriterBusy, OSError
        """
        thread_id = canonical_id(meta.id)
        writer = cls(WriterLock(home, thread_id), home.new_path(thread_id, created_at), meta)
        writer._ordinal = _first_ordinal(meta)
        return writer

    @classmethod
    def resume(cls, home: Home, thread_id: str) -> Self:
        """Continues a stored thread at its end.

        Raises:
            InvalidThreadId, WriterBusy, RolloutNotFound, ThreadArchived, RolloutDamaged, OSError
        """
        thread_id = canonical_id(thread_id)
        # The lock comes first: under it nobody archives or reverts the file that is about to be found.
        lock = WriterLock(home, thread_id)
        try:
            while not begun(path := home.find(thread_id)):
                os.unlink(path)  # then the thread is what it was before, if it was
            return cls._opened(lock, path)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume_path(cls, path: Path, thread_id: str) -> Self:
        """As `resume`, for a file that is known.

        Raises:
            WriterBusy, RolloutDamaged, OSError
        """
        lock = WriterLock(home_of(path), thread_id)
        try:
            return cls._opened(lock, path)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _opened(cls, lock: WriterLock, path: Path) -> Self:
        writer = cls(lock, path, read_meta(path))
        # O_APPEND: should someone write without the lock, lines are interleaved, never overwritten.
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            writer._size = mend(fd)
            writer._ordinal = _next_ordinal(fd, path) if writer.meta.history_mode == "paginated" else None
        except BaseException:
            os.close(fd)
            raise
        writer._fd = fd
        return writer

    def succeed(self, meta: SessionMeta, path: Path) -> RolloutWriter:
        """A writer of the thread's next file, which comes with its first `append`; this one is closed."""
        writer = RolloutWriter(self._lock, path, meta)
        writer._ordinal = _first_ordinal(meta)
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
        return writer

    @property
    def thread_id(self) -> str:
        return self._lock.thread_id

    @property
    def paginated(self) -> bool:
        return self._ordinal is not None

    @property
    def next_ordinal(self) -> int | None:
        return self._ordinal

    @property
    def stored(self) -> bool:
        """Whether there is a file yet."""
        return self._fd is not None

    def materialize(self) -> None:
        """Makes the file now, with nothing but its first line, if there is none yet."""
        if self._fd is None:
            data = encode_line(
                Entry("session_meta", self.meta), stamp=timestamp(time.time()), ordinal=self._ordinal
            )
            _write_all(self._create(), data)
            self._size += len(data)
            self._ordinal = None if self._ordinal is None else self._ordinal + 1

    def append(self, entries: Iterable[Entry | ItemEntry]) -> int | None:
        """Writes all lines in one go. After an error none of them is in the file and the writer can go on.

        Returns the ordinal of the first; an entry is one line. None in a legacy file, where neither holds.

        Raises:
            ForeignWrite: the file was changed by a process that does not hold the lock.
            OSError: e.g. the disk is full.
            TypeError: a payload that is no JSON.
        """
        now = time.time()
        plain = [line for entry in entries for line in self._plain(entry, now)]
        if not plain:
            return self._ordinal
        first = self._ordinal
        if self._fd is None:
            plain.insert(0, Entry("session_meta", self.meta))
            first = None if first is None else first + 1
        ordinal, stamp, lines = self._ordinal, timestamp(now), []
        for entry in plain:
            lines.append(encode_line(entry, stamp=stamp, ordinal=ordinal))
            ordinal = None if ordinal is None else ordinal + 1
        fd = self._fd if self._fd is not None else self._create()
        if os.fstat(fd).st_size != self._size:
            raise ForeignWrite(f"rollout {self.path} was changed by another program")
        data = b"".join(lines)
        try:
            _write_all(fd, data)
        except OSError:
            os.ftruncate(fd, self._size)
            raise
        self._size += len(data)
        self._ordinal = ordinal
        return first

    def copy(self, lines: Iterable[bytes]) -> None:
        """Appends lines of another rollout as they are, but for their ordinals.

        Raises:
            OSError
        """
        self.materialize()
        assert self._fd is not None
        for raw in lines:
            line = renumber(raw, self._ordinal)
            if line is not None:
                _write_all(self._fd, line)
                self._size += len(line)
                self._ordinal = None if self._ordinal is None else self._ordinal + 1

    def sync(self) -> None:
        """Returns when all that was appended is on the disk."""
        if self._fd is None:
            return
        os.fdatasync(self._fd)
        if self._new_folder:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._new_folder = False

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create(self) -> int:
        os.makedirs(self.path.parent, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        self._new_folder = True
        return self._fd

    def _plain(self, entry: Entry | ItemEntry, now: float) -> list[Entry]:
        if isinstance(entry, Entry):
            return [entry]
        if not self.paginated:
            events = events_of(entry.item, entry.turn_id)
            if events is not None:
                return [Entry("event_msg", event) for event in events]
        completed = entry.item.completed_at_ms or int(now * 1000)
        payload = {
            "type": ItemCompleted.__struct_config__.tag,
            "thread_id": self.thread_id,
            "turn_id": entry.turn_id,
            "item": stored_item(entry.item),
            "started_at_ms": entry.item.started_at_ms or completed,
            "completed_at_ms": completed,
        }
        return [Entry("event_msg", payload)]


def _first_ordinal(meta: SessionMeta) -> int | None:
    """That of a new file's first line: a file that goes on from another one counts on."""
    if meta.history_mode != "paginated":
        return None
    base = meta.history_base
    return 0 if base is None else base.end_ordinal_exclusive or 0


def _next_ordinal(fd: int, path: Path) -> int:
    for raw in lines_backwards(fd):
        line = decode_line(raw)
        if line is not None and line.ordinal is not None:
            return line.ordinal + 1
    raise RolloutDamaged(f"rollout {path} is paginated but has no ordinals")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
