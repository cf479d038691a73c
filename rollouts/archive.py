"""Moving threads to the archive and back: all files of a thread, under its writer lock."""

from __future__ import annotations

import os
from pathlib import Path

from rollouts.errors import RolloutNotFound
from rollouts.ids import canonical_id
from rollouts.layout import Home
from rollouts.lock import WriterLock

__all__ = ["archive", "unarchive"]


def archive(home: Home, thread_id: str) -> Path:
    """Returns where the thread lies now.

    Raises:
        InvalidThreadId, WriterBusy, OSError
        RolloutNotFound: `no rollout found for thread id X`, also if it is in the archive already.
    """
    thread_id = canonical_id(thread_id)
    lock = WriterLock(home, thread_id)
    try:
        segments = home.segments(thread_id)
        if not segments:
            raise RolloutNotFound(f"no rollout found for thread id {thread_id}")
        os.makedirs(home.archived, exist_ok=True)
        for path in segments:
            os.rename(path, home.archived / path.name)
        return home.archived / segments[-1].name
    finally:
        lock.release()


def unarchive(home: Home, thread_id: str) -> Path:
    """Returns where the thread lies now; it counts as updated now.

    Raises:
        InvalidThreadId, WriterBusy, OSError
        RolloutNotFound: `no archived rollout found for thread id X`.
    """
    thread_id = canonical_id(thread_id)
    lock = WriterLock(home, thread_id)
    try:
        segments = home.segments(thread_id, archived=True)
        if not segments:
            raise RolloutNotFound(f"no archived rollout found for thread id {thread_id}")
        for path in segments:
            target = home.active_path(path.name)
            os.makedirs(target.parent, exist_ok=True)
            os.rename(path, target)
        os.utime(target)
        return target
    finally:
        lock.release()
