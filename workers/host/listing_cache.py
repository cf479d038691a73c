"""The last listing, for as long as it is true: whoever types a query searches the same files again and again.

True means: no directory in it has another time of change than when it was listed, and no file that says what is
ignored either. Looking at that costs a call for each directory and not one for each file, so it is cheap where listing
is dear. Both is asked of the system each time; nothing is assumed to last.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator

from workers.host.listing import Listing, list_roots

__all__ = ["ListingCache"]

IGNORE_FILES = (".gitignore", ".ignore")
GIT_EXCLUDE = os.path.join(".git", "info", "exclude")
GLOBAL_FILES = ("~/.gitconfig", "~/.config/git/config", "~/.config/git/ignore")
SETTLED_NS = 100_000_000
"""A directory that changed so shortly before it was listed may change again without a new time: clocks tick coarsely."""

_Stamp = tuple[int, int, int] | None
"""(device, inode, time of change), None: not there."""


class _Kept:
    def __init__(self, roots: tuple[str, ...], listing: Listing, began_ns: int) -> None:
        self.roots = roots
        self.listing = listing
        self.stamps = {path: _stamp(path) for path in _telling(listing, roots)}
        newest = max((found[2] for found in self.stamps.values() if found is not None), default=0)
        self.settled = newest < began_ns - SETTLED_NS

    def still_true(self) -> bool:
        return all(_stamp(path) == found for path, found in self.stamps.items())


class ListingCache:
    """Of one connection; holds one listing. Both methods block and are called in threads, of one or of many searches."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None
        self._keeping: dict[tuple[str, ...], threading.Event] = {}

    def get(self, roots: tuple[str, ...], cancelled: threading.Event) -> tuple[Listing, int]:
        """The files below `roots`, and when they were listed (ns): what `keep` wants to know, 0 for nothing new."""
        keeping = self._keeping.get(roots)
        if keeping is not None:
            keeping.wait()  # for less than listing them again would take
        kept = self._kept
        if kept is not None and kept.roots == roots and kept.still_true():
            return kept.listing, 0
        began_ns = time.time_ns()
        return list_roots(roots, cancelled), began_ns

    def keep(self, roots: tuple[str, ...], listing: Listing, began_ns: int) -> None:
        """Remember a listing, if it is certain that a change to it will be seen."""
        if roots in self._keeping:
            return
        done = self._keeping[roots] = threading.Event()
        try:
            kept = _Kept(roots, listing, began_ns)
            self._kept = kept if kept.settled else None
        finally:
            del self._keeping[roots]
            done.set()


def _telling(listing: Listing, roots: tuple[str, ...]) -> Iterator[str]:
    """Everything whose time of change tells of a change to the listing."""
    for path in GLOBAL_FILES:
        yield os.path.expanduser(path)
    for root in roots:
        folder = os.path.abspath(root)
        while True:
            for name in (*IGNORE_FILES, ".git", GIT_EXCLUDE):
                yield os.path.join(folder, name)
            if folder == os.path.dirname(folder):
                break
            folder = os.path.dirname(folder)
        yield os.path.abspath(root)
    parents = {(os.path.dirname(path), root) for path, root in listing.entries}
    for path, root in parents:
        yield os.path.join(root, path)
    for path, root in listing.entries:
        full = os.path.join(root, path)
        if path.endswith(IGNORE_FILES) or path.endswith(GIT_EXCLUDE):
            yield full
        elif (path, root) not in parents and os.path.isdir(full):
            yield full  # empty, until something is put there


def _stamp(path: str) -> _Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    changed = found.st_mtime_ns if stat.S_ISDIR(found.st_mode) else max(found.st_mtime_ns, found.st_ctime_ns)
    return found.st_dev, found.st_ino, changed
