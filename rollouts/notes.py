"""What clients say about a thread that its rollout has no place for: one small file a thread.

    bulkhead/notes/<thread>.json

Codex keeps the like in a database of its own, which is neither read nor written here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from protocol.base import UNSET, Absent
from protocol.threads import GitInfo
from rollouts.layout import Home
from rollouts.lines import decode_as

__all__ = ["Note", "Notes"]


class Note(msgspec.Struct, omit_defaults=True):
    """`git_info`: what takes the place of the branch and commit in the rollout; unset fields leave those be."""

    sha: str | Absent | None = UNSET
    branch: str | Absent | None = UNSET
    origin_url: str | Absent | None = UNSET
    daybreak_enabled: bool | None = None

    def git_info(self, recorded: GitInfo | None) -> GitInfo | None:
        """With what the rollout has recorded; None where nobody has said anything."""
        changed = {
            name: value for name in GitInfo.__struct_fields__ if (value := getattr(self, name)) is not UNSET
        }
        return msgspec.structs.replace(recorded or GitInfo(), **changed) if changed else recorded


class Notes:
    """The notes of a home's threads, by thread id."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def get(self, thread_id: str) -> Note:
        """An empty one where there is none, or none that can be read."""
        try:
            raw = self._path(thread_id).read_bytes()
        except OSError:
            return Note()
        return decode_as(Note, raw) or Note()

    def put(self, thread_id: str, note: Note) -> None:
        """Raises OSError."""
        path = self._path(thread_id)
        os.makedirs(path.parent, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.encode(note))
        os.replace(draft, path)

    def drop(self, thread_id: str) -> None:
        with suppress(OSError):
            self._path(thread_id).unlink()

    def _path(self, thread_id: str) -> Path:
        return self._home.notes / f"{thread_id}.json"
