"""The diff of a whole turn: what all its patches together did to the files, as git would show it."""

from __future__ import annotations

import hashlib
import os
import stat

import msgspec

from workers.tools.hunks import unified
from workers.tools.patch_apply import Verified

__all__ = ["TurnDiff"]

CONTEXT = 3
"""Lines of context around a hunk: git's default."""

MAX_SHOWN_BYTES = 2 * 1024 * 1024
"""A file with a larger old or new text is named but not shown: the whole diff is sent again after every patch."""

BINARY_PROBE_BYTES = 8000
"""git takes a file for binary if one of its first 8000 bytes is NUL."""

NO_BLOB = "0" * 40
DEV_NULL = "/dev/null"
REGULAR = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000


class FileState(msgspec.Struct, frozen=True):
    """A file at one moment; `mode` is one of git's three."""

    content: bytes
    mode: int = REGULAR

    @property
    def blob(self) -> str:
        # not for security: this is how git names a text
        digest = hashlib.sha1(b"blob %d\0" % len(self.content), usedforsecurity=False)
        digest.update(self.content)
        return digest.hexdigest()

    @property
    def text(self) -> str | None:
        """`None`: not to be shown line by line."""
        if b"\0" in self.content[:BINARY_PROBE_BYTES]:
            return None
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None


class TurnDiff:
    """Collects the patches of one turn. What commands do to files is no part of it.

    Links are resolved. Paths are shown from the root of the git work tree `cwd` lies in, else from `cwd`; a file outside of that keeps its
    absolute path behind `a/` and `b/`.
    """

    def __init__(self, cwd: str) -> None:
        self._root = _work_tree(cwd)
        self._first: dict[str, FileState | None] = {}
        self._now: dict[str, FileState | None] = {}
        self._origin: dict[str, str] = {}

    def record(self, verified: Verified) -> None:
        """Take in a patch that was applied."""
        for change in verified.changes:
            old = _state(change.old, change.mode)
            if change.new is None:
                source = _link(change.path)
                self._set(source, old, None)
                self._origin.pop(source, None)
                continue
            new = FileState(change.new, REGULAR if old is None else old.mode)
            target = os.path.realpath(change.move_path or change.path)
            source = target if change.move_path is None else _link(change.path)
            if source == target:
                self._set(target, old, new)
                continue
            self._set(source, old, None)
            self._set(target, _state(change.replaced, change.replaced_mode), new)
            self._origin[target] = self._origin.pop(source, source)

    def _set(self, path: str, before: FileState | None, after: FileState | None) -> None:
        self._first.setdefault(path, before)
        self._now[path] = after

    def render(self) -> str:
        """The diff, empty if the turn changed nothing (or took everything back)."""
        moved = {
            source: target
            for target, source in self._origin.items()
            if self._first[target] is None
            and self._now[target] is not None
            and self._first[source] is not None
            and self._now[source] is None
        }
        pieces = []
        for path in sorted(self._first.keys() - moved.values()):
            target = moved.get(path, path)
            pieces.append(
                _file_diff(self._shown(path), self._shown(target), self._first[path], self._now[target])
            )
        return "".join(pieces)

    def _shown(self, path: str) -> str:
        inside = path.startswith(self._root.rstrip("/") + "/")
        return os.path.relpath(path, self._root) if inside else path


def _state(content: bytes | None, mode: int) -> FileState | None:
    return None if content is None else FileState(content, _git_mode(mode))


def _link(path: str) -> str:
    """The path with all links resolved but the last."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _work_tree(cwd: str) -> str:
    start = folder = os.path.realpath(cwd)
    while not os.path.exists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return start
        folder = parent
    return folder


def _git_mode(mode: int) -> int:
    if stat.S_ISLNK(mode):
        return SYMLINK
    return EXECUTABLE if mode & stat.S_IXUSR else REGULAR


def _file_diff(old_path: str, new_path: str, old: FileState | None, new: FileState | None) -> str:
    if old == new and old_path == new_path:
        return ""
    pieces = [f"diff --git a/{old_path} b/{new_path}\n"]
    if old is None and new is not None:
        pieces.append(f"new file mode {new.mode:o}\n")
    elif old is not None and new is None:
        pieces.append(f"deleted file mode {old.mode:o}\n")
    elif old is not None and new is not None and old.mode != new.mode:
        pieces.append(f"old mode {old.mode:o}\nnew mode {new.mode:o}\n")
    if old is not None and new is not None and old.content == new.content:
        if old_path != new_path:
            pieces.append(f"similarity index 100%\nrename from {old_path}\nrename to {new_path}\n")
        return "".join(pieces)
    pieces.append(f"index {old.blob if old else NO_BLOB}..{new.blob if new else NO_BLOB}\n")
    before = DEV_NULL if old is None else f"a/{old_path}"
    after = DEV_NULL if new is None else f"b/{new_path}"
    if max(len(old.content) if old else 0, len(new.content) if new else 0) > MAX_SHOWN_BYTES:
        pieces.append(f"Files {before} and {after} differ: too large to show\n")
        return "".join(pieces)
    old_text, new_text = old.text if old else "", new.text if new else ""
    if old_text is None or new_text is None:
        pieces.append(f"Binary files {before} and {after} differ\n")
    elif hunks := unified(old_text, new_text, CONTEXT):
        pieces.append(f"--- {before}\n+++ {after}\n{hunks}")
    return "".join(pieces)
