"""Who a process is, beyond its number: pid, start time and boot.

It is written down, so that a later server can end what an earlier one left, and nobody else. A folder holds one file a process, named by its pid: `START BOOT`, START in clock ticks since that boot. A worker
writes itself down before it does anything else; a file without content belongs to one that was killed just then.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from contextlib import suppress

import msgspec

from sandbox_backends.tree import children, look

__all__ = ["Identity", "end_recorded", "forget", "record", "recorded"]

_BOOT_FILE = "/proc/sys/kernel/random/boot_id"
ROUNDS, PAUSE_S = 200, 0.005
"""Each round ends a generation of forks; together a second."""


class Identity(msgspec.Struct, frozen=True):
    """`start` in clock ticks since boot; `boot` is the kernel's id of the boot, without dashes."""

    pid: int
    start: int
    boot: str

    @property
    def alive(self) -> bool:
        process = look(self.pid)
        return process is not None and process.start == self.start and process.alive


@functools.cache
def boot_id() -> str:
    try:
        with open(_BOOT_FILE) as file:
            return file.read().strip().replace("-", "")
    except OSError:
        return "none"


def identity_of(pid: int) -> Identity | None:
    process = look(pid)
    return None if process is None else Identity(pid, process.start, boot_id())


def record(folder: str, pid: int) -> None:
    """Write a process down, if there is a folder and such a process."""
    identity = identity_of(pid) if folder else None
    if identity is None:
        return
    # A full disk must not keep a process from its work.
    with suppress(OSError), open(os.path.join(folder, str(pid)), "w") as file:
        file.write(f"{identity.start} {identity.boot}")


def forget(folder: str, pid: int) -> None:
    """The process has ended, and its number may soon be another's."""
    if folder:
        with suppress(OSError):
            os.unlink(os.path.join(folder, str(pid)))


def recorded(folder: str) -> list[Identity]:
    """Who is written down in a folder; what is not of our making is left out."""
    found = []
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            with suppress(OSError, ValueError), open(os.path.join(folder, name)) as file:
                start, boot = file.read().split()
                found.append(Identity(int(name), int(start), boot))
    return found


def end_recorded(folder: str) -> list[Identity]:
    """SIGKILL every recorded process that still is who it was, with all below it and in its session; who was ended.

    Blocks for up to a second. A number that belongs to another process by now is left alone, and so is everything of
    an earlier boot.
    """
    boot = boot_id()
    ours = [identity for identity in recorded(folder) if identity.boot == boot]
    ended: dict[Identity, None] = {}
    for _ in range(ROUNDS):
        doomed = _still_there(ours)
        if not doomed:
            break
        for identity in doomed:
            ended[identity] = None
            _kill(identity)
        time.sleep(PAUSE_S)
    return list(ended)


def _still_there(ours: list[Identity]) -> list[Identity]:
    """The recorded ones that live, what is below them, and the members of sessions whose recorded leader is gone."""
    found: dict[int, Identity] = {}
    queue = [identity for identity in ours if identity.alive]
    leaders = {identity.pid: identity for identity in ours if look(identity.pid) is None}
    if leaders:
        # As long as a member lives, the number of its session is nobody else's.
        for name in os.listdir("/proc"):
            process = look(int(name)) if name.isdigit() else None
            if process is None or not process.alive:
                continue
            leader = leaders.get(process.session)
            if leader is not None and process.start >= leader.start:
                queue.append(Identity(process.pid, process.start, leader.boot))
    while queue:
        identity = queue.pop()
        if identity.pid in found:
            continue
        found[identity.pid] = identity
        for child in children(identity.pid):
            process = look(child)
            if process is not None and process.alive:
                queue.append(Identity(child, process.start, identity.boot))
    return list(found.values())


def _kill(identity: Identity) -> None:
    with suppress(OSError):
        fd = os.pidfd_open(identity.pid)
        try:
            if identity.alive:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
