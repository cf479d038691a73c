"""Where stored threads lie below a home, and what their file names say.

    sessions/YYYY/MM/DD/rollout-YYYY-MM-DDThh-mm-ss-<thread>.jsonl            local time
    sessions/YYYY/MM/DD/rollout-YYYY-MM-DDThh-mm-ss-<thread>_<revert>.jsonl   the thread after a revert
    archived_sessions/<the same names>                                        flat
    thread-writer-locks/<thread>.lock
    session_index.jsonl                                                       names
    bulkhead/                                                                 what is ours alone

A *segment* is one file; its id is the revert id if it has one, else the thread id. Files point at each other
by segment id (see `rollouts.lines.HistoryBase`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from rollouts.errors import RolloutNotFound, ThreadArchived

__all__ = ["Home", "RolloutName", "parse_name"]

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NAME = re.compile(
    rf"rollout-(\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d)-({_UUID})(?:_({_UUID}))?\.jsonl\Z",
    re.ASCII,
)
_STAMP = "%Y-%m-%dT%H-%M-%S"


class RolloutName(msgspec.Struct, frozen=True):
    """A parsed file name. `stamp` is local time, `2026-11-22T16-41-17`."""

    stamp: str
    thread_id: str
    revert_id: str | None = None

    @property
    def segment_id(self) -> str:
        return self.revert_id or self.thread_id

    @property
    def rank(self) -> str:
        """Of the files of one thread, the one with the highest rank is its present."""
        return f"{self.revert_id or ''} {self.stamp}"  # a blank sorts before every digit

    @property
    def created_at(self) -> float:
        """Unix seconds; a stamp that is no date counts as 0."""
        try:
            return datetime.strptime(self.stamp, _STAMP).astimezone().timestamp()
        except (ValueError, OverflowError, OSError):
            return 0.0


def parse_name(name: str) -> RolloutName | None:
    match = _NAME.match(name)
    return RolloutName(match[1], match[2], match[3]) if match else None


class Home:
    """The paths of one home directory. Nothing is created here.

    `server`: the name of the server for which threads are opened here; its own leases do not keep it out.
    """

    def __init__(self, root: Path | str, server: str = "") -> None:
        self.root = Path(root)
        self.server = server
        self.sessions = self.root / "sessions"
        self.archived = self.root / "archived_sessions"
        self.locks = self.root / "thread-writer-locks"
        self.names = self.root / "session_index.jsonl"
        self.names_lock = self.root / "session_index.jsonl.lock"
        self.leases = self.root / "bulkhead" / "leases"
        self.patches = self.root / "bulkhead" / "patches"
        self.index = self.root / "bulkhead" / "threads.sqlite"
        self.notes = self.root / "bulkhead" / "notes"
        self.receipts = self.root / "bulkhead" / "receipts"

    def new_path(self, thread_id: str, created_at: float) -> Path:
        """Where a thread made at `created_at` (unix seconds) is to be stored."""
        local = datetime.fromtimestamp(created_at, UTC).astimezone()
        return self.sessions / f"{local:%Y/%m/%d}" / f"rollout-{local.strftime(_STAMP)}-{thread_id}.jsonl"

    def active_path(self, name: str) -> Path:
        """Where a file of this name lies while it is not archived."""
        return self.sessions.joinpath(*name[len("rollout-") :][:10].split("-"), name)

    def scan(self, *, archived: bool) -> Iterator[tuple[os.DirEntry[str], RolloutName]]:
        """All rollout files, in no order. A folder that vanishes meanwhile is passed over."""
        yield from _scan(str(self.archived if archived else self.sessions), 0 if archived else 3)

    def segments(self, thread_id: str, *, archived: bool = False) -> list[Path]:
        """All files of a thread, its present last."""
        found = [(n.rank, e.path) for e, n in self.scan(archived=archived) if n.thread_id == thread_id]
        return [Path(path) for _, path in sorted(found)]

    def find(self, thread_id: str) -> Path:
        """The file to resume a thread from.

        Raises:
            ThreadArchived, RolloutNotFound
        """
        if active := self.segments(thread_id):
            return active[-1]
        if self.segments(thread_id, archived=True):
            raise ThreadArchived(thread_id)
        raise RolloutNotFound(f"no rollout found for thread id {thread_id}")

    def find_segment(self, segment_id: str) -> Path | None:
        """One file by segment id, archived or not."""
        for archived in (False, True):
            for entry, name in self.scan(archived=archived):
                if name.segment_id == segment_id:
                    return Path(entry.path)
        return None


def home_of(path: Path) -> Home:
    """The home a rollout file lies in, by its place; a stray file is at home in its own folder."""
    for parent in path.absolute().parents:
        if parent.name in {"sessions", "archived_sessions"}:
            return Home(parent.parent)
    return Home(path.absolute().parent)


def _scan(folder: str, depth: int) -> Iterator[tuple[os.DirEntry[str], RolloutName]]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    with entries:
        for entry in entries:
            if depth:
                if entry.name.isdigit() and entry.is_dir(follow_symlinks=False):
                    yield from _scan(entry.path, depth - 1)
            elif name := parse_name(entry.name):
                yield entry, name
