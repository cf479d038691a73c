"""The index behind `thread/list`: a SQLite file derived from the rollouts, which may be deleted at any time.

`refresh` looks at the names, sizes and times of all files and opens only those that are new or have changed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from rollouts.heads import Summary, read_summary
from rollouts.layout import Home, RolloutName
from rollouts.names import Names

__all__ = ["Row", "ThreadIndex"]

_SCHEMA_VERSION = 2
_BUSY_TIMEOUT = 10.0
# How many columns say what is in the file, from created_ms on.
_FACTS = 9
_SCHEMA = """
CREATE TABLE rollouts (
    path TEXT PRIMARY KEY,
    thread_id TEXT NOT NULL,
    archived INTEGER NOT NULL,
    rank TEXT NOT NULL,
    present INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    created_ms INTEGER,
    updated_ms INTEGER,
    recency_ms INTEGER,
    preview TEXT,
    provider TEXT,
    cwd TEXT,
    source_kind TEXT,
    name TEXT,
    summary TEXT
);
CREATE INDEX rollouts_thread ON rollouts(thread_id, archived);
CREATE INDEX rollouts_created ON rollouts(archived, present, created_ms, thread_id);
CREATE INDEX rollouts_updated ON rollouts(archived, present, updated_ms, thread_id);
CREATE INDEX rollouts_recency ON rollouts(archived, present, recency_ms, thread_id)
"""
_PUT = "INSERT OR REPLACE INTO rollouts VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TAKE = "SELECT path, archived, updated_ms, recency_ms, summary FROM rollouts WHERE "
# The present of a thread is its file of the highest rank; a file that is no rollout (no summary) is never shown.
_MARK_PRESENT = """
UPDATE rollouts SET present = summary IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM rollouts AS other
    WHERE other.thread_id = rollouts.thread_id AND other.archived = rollouts.archived
      AND other.summary IS NOT NULL AND other.rank > rollouts.rank
) WHERE thread_id = ?
"""


class Row(msgspec.Struct, frozen=True):
    """A stored thread as the index knows it."""

    path: str
    archived: bool
    updated_ms: int
    recency_ms: int
    summary: Summary


class ThreadIndex:
    """`opened` counts the rollouts read so far: that is what an index is there to keep small."""

    def __init__(self, home: Home, names: Names) -> None:
        self._home = home
        self._names = names
        self._connection: sqlite3.Connection | None = None
        self.opened = 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def refresh(self) -> None:
        """Brings the index up to date; one that is damaged is thrown away and built anew.

        Raises:
            OSError, sqlite3.Error: it cannot be stored at all.
        """
        try:
            self._refresh(self._connect())
        except sqlite3.OperationalError:
            raise  # busy, a full disk: nothing that a new file would cure
        except sqlite3.DatabaseError:
            self._discard()
            self._refresh(self._connect())

    def query(self, where: str, arguments: list[Any], order: str, limit: int) -> list[Row]:
        """Rows of the present files that match; `where` and `order` are SQL over the columns of `rollouts`."""
        sql = f"{_TAKE} present AND {where} ORDER BY {order} LIMIT {limit:d}"
        return [_row(fields) for fields in self._connect().execute(sql, arguments)]

    def builds_on(self, segment_ids: list[str], *, other_than: str) -> bool:
        """Whether a file of another thread goes on from one of these."""
        sql = (
            "SELECT 1 FROM rollouts WHERE thread_id <> ? AND json_extract(summary, '$.base') IN "
            "(SELECT value FROM json_each(?)) LIMIT 1"
        )
        arguments = (other_than, msgspec.json.encode(segment_ids).decode())
        return self._connect().execute(sql, arguments).fetchone() is not None

    def find(self, thread_id: str, *, archived: bool) -> Row | None:
        rows = self.query("thread_id = ? AND archived = ?", [thread_id, archived], "rank DESC", 1)
        return rows[0] if rows else None

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            os.makedirs(self._home.index.parent, exist_ok=True)
            try:
                self._connection = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                self._discard()
                self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._home.index, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # Derived data: what a power failure takes is read again.
            connection.execute("PRAGMA synchronous = OFF")
            if connection.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA_VERSION:
                with _transaction(connection):
                    _make_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _discard(self) -> None:
        self.close()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._home.index}{suffix}")

    def _refresh(self, connection: sqlite3.Connection) -> None:
        self._names.refresh()
        new_names = dict(self._names.pending)
        with _transaction(connection):
            known = {
                path: (size, mtime_ns, thread_id)
                for path, size, mtime_ns, thread_id in connection.execute(
                    "SELECT path, size, mtime_ns, thread_id FROM rollouts"
                )
            }
            fresh: list[tuple[str, RolloutName, bool, os.stat_result]] = []
            segments: dict[str, Path] = {}
            for archived in (False, True):
                for entry, name in self._home.scan(archived=archived):
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue
                    segments.setdefault(name.segment_id, Path(entry.path))
                    before = known.pop(entry.path, None)
                    if before is None or before[:2] != (stat.st_size, stat.st_mtime_ns):
                        fresh.append((entry.path, name, archived, stat))
            touched = {thread_id for _, _, thread_id in known.values()}
            connection.executemany("DELETE FROM rollouts WHERE path = ?", [(path,) for path in known])
            for path, name, archived, stat in fresh:
                if (values := self._values(path, name, archived, stat, segments)) is not None:
                    connection.execute(_PUT, values)
                    touched.add(name.thread_id)
            connection.executemany(_MARK_PRESENT, [(thread_id,) for thread_id in touched])
            connection.executemany(
                "UPDATE rollouts SET name = ? WHERE thread_id = ?",
                [(name, thread_id) for thread_id, name in new_names.items()],
            )
        self._names.settle(new_names)

    def _values(
        self, path: str, name: RolloutName, archived: bool, stat: os.stat_result, segments: dict[str, Path]
    ) -> tuple[Any, ...] | None:
        self.opened += 1
        try:
            summary = read_summary(path, name, segments.get)
        except OSError:
            return None  # moved or forbidden; looked at again next time
        key = (path, name.thread_id, archived, name.rank, stat.st_size, stat.st_mtime_ns)
        if summary is None:
            return (*key, *([None] * _FACTS))
        updated_ms = stat.st_mtime_ns // 1_000_000
        recency_ms = updated_ms if summary.recency_ms is None else summary.recency_ms
        return (
            *key,
            summary.created_ms,
            updated_ms,
            recency_ms,
            _storable(summary.preview),
            summary.provider,
            _storable(os.path.normpath(summary.cwd) if summary.cwd else ""),
            summary.source_kind,
            self._names.get(name.thread_id),
            msgspec.json.encode(summary).decode(),
        )


def _make_schema(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS rollouts")
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # A connection whose file is damaged may have rolled back on its own.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _row(fields: tuple[str, int, int, int, str]) -> Row:
    path, archived, updated_ms, recency_ms, summary = fields
    return Row(path, bool(archived), updated_ms, recency_ms, msgspec.json.decode(summary, type=Summary))


def _storable(text: str) -> str:
    return text.replace("\x00", "")  # SQLite's instr() would stop there
