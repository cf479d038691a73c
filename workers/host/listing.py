"""The files and directories below some roots, without what `.gitignore` and its like exclude.

Hidden files are listed and symbolic links followed, as the peer does; `.gitignore` counts inside of git checkouts only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frizbee import Haystacks

__all__ = ["Listing", "list_roots"]

ENTRY_LIMIT = 1_000_000
"""Paths in one listing; they take some 200 MB then."""
LOOK_EVERY = 1024
"""Paths between two looks at whether anybody still wants them."""


class Listing:
    """Paths below their roots, in the order of the paths, and the same for the matcher. Immutable."""

    def __init__(self, entries: list[tuple[str, str]]) -> None:
        """`entries`: (path below the root, root)."""
        from frizbee import Haystacks  # noqa: PLC0415 - few workers search, and all would pay

        entries.sort()
        self.entries = entries
        self.paths: Haystacks = Haystacks([path for path, _ in entries])
        self.names: Haystacks = Haystacks([path[path.rfind("/") + 1 :] for path, _ in entries])


def list_roots(roots: Iterable[str], cancelled: threading.Event) -> Listing:
    """Blocks. What cannot be read is left out, a root that is no directory too; cut short when cancelled."""
    entries: list[tuple[str, str]] = []
    for root in roots:
        for path in _below(root):
            entries.append((path, root))
            if len(entries) % LOOK_EVERY == 0 and cancelled.is_set():
                return Listing([])
            if len(entries) >= ENTRY_LIMIT:
                return Listing(entries)
    return Listing(entries)


def _below(root: str) -> Iterator[str]:
    from rignore import walk  # noqa: PLC0415 - few workers search, and all would pay

    if "\0" in root or not os.path.isdir(root):
        return
    absolute = os.path.abspath(root)
    skip = len(absolute.rstrip("/")) + 1
    walker = walk(absolute, ignore_hidden=False, follow_links=True, require_git=True)  # type: ignore[arg-type] # it takes text as well, which is not converted then
    while True:
        try:
            path = str(next(walker))
        except StopIteration:
            return
        except OSError:
            continue  # one entry that cannot be read, or a link that leads in a circle
        if len(path) > skip:
            relative = path[skip:]
            yield relative if relative.isascii() else os.fsencode(relative).decode("utf-8", "replace")
