"""A thread that is asleep has no writer, but it belongs to the server that loaded it: a lease says so.

`bulkhead/leases/<thread>` names that server and a file which it keeps locked (flock) as long as it lives.
So a lease of a dead server is worth nothing, whatever has its process id by now. Leases are written and read only
by who holds the thread's writer lock.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

import msgspec

from rollouts.layout import Home

__all__ = ["Lease", "drop_lease", "foreign_holder", "write_lease"]


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """`lock`: the server's own lock file.

    No epoch: a lease is only written under the thread's writer lock, which the kernel gives to one process, and the next
    incarnation is born when the end of the last one has been seen. There is no stale holder that a number would stop.
    """

    server: str
    pid: int
    lock: str

    @property
    def alive(self) -> bool:
        try:
            fd = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


def write_lease(home: Home, thread_id: str, lease: Lease) -> None:
    """Raises OSError."""
    os.makedirs(home.leases, exist_ok=True)
    fresh = home.leases / f".{thread_id}"
    with open(fresh, "wb") as file:
        file.write(msgspec.json.encode(lease))
    os.replace(fresh, home.leases / thread_id)


def drop_lease(home: Home, thread_id: str) -> None:
    with suppress(OSError):
        os.unlink(home.leases / thread_id)


def foreign_holder(home: Home, thread_id: str) -> int | None:
    """The process of a living server, not that of `home.server`, which has the thread loaded and asleep."""
    try:
        with open(home.leases / thread_id, "rb") as file:
            lease = msgspec.json.decode(file.read(), type=Lease)
    except (OSError, msgspec.MsgspecError):
        return None
    return lease.pid if lease.server != home.server and lease.alive else None
