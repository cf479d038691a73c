"""The event log of one incarnation: everything it says to clients, written before it is sent.

A plain file of records (`protocol.link`), in the server's runtime directory. It outlives the worker, not the server:
what must last is in the rollout. It stays small, since it is begun anew whenever everything in it has reached the
clients; its first record then says where in the stream it begins.
"""

from __future__ import annotations

import os

from protocol.link import Record, pack_record

__all__ = ["EventLog"]

ROTATE_BYTES = 256 * 1024
"""Not worth a truncation below this."""


class EventLog:
    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = 0

    def append(self, piece: bytes) -> None:
        """One write() for the whole piece; a torn end is possible only when the process is killed in it.

        Raises:
            OSError: the file system is full or broken. Nothing of the piece is in the log then.
        """
        view = memoryview(piece)
        try:
            while view:
                written = os.write(self._fd, view)
                view = view[written:]
        except OSError:
            # What would come behind a torn record would be read as the rest of it.
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(piece)

    def begin_anew(self, offset: int) -> bytes:
        """Empty the log, whose records have all arrived; returns the record that stands first in the new one."""
        os.ftruncate(self._fd, 0)
        self.size = 0
        return pack_record(Record.ROTATED, offset, b"")

    def close(self) -> None:
        os.close(self._fd)
