"""The store `file`: `auth.json` in the home directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator

import msgspec

from auth.errors import StorageError
from auth.record import AuthRecord, read_record, write_record

__all__ = ["FileStorage", "replace_file"]

AUTH_FILE = "auth.json"
LOCK_FILE = "auth.json.lock"
"""Codex holds it while it replaces the file."""
FILE_MODE = 0o600


class FileStorage:
    """Holds nothing in memory: another program may log in or out at any time."""

    def __init__(self, home: str) -> None:
        self._home = home
        self.path = os.path.join(home, AUTH_FILE)

    @property
    def place(self) -> str:
        return self.path

    def probe(self) -> None:
        """:raises StorageError: nothing can be written there."""
        if not os.access(self._home, os.W_OK | os.X_OK):
            raise StorageError(f"cannot write {self.path}: the directory is not writable")

    def load(self) -> AuthRecord | None:
        """The record, or None if there is no file.

        :raises StorageError: the file cannot be read or is no such record.
        """
        try:
            with open(self.path, "rb") as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror}") from error
        return read_record(text, self.path)

    def save(self, record: AuthRecord) -> None:
        """Replaces the file as a whole, readable by its owner only; survives a power loss.

        A link is followed, so that a file kept elsewhere stays there.

        :raises StorageError: it cannot be written; the old file is then as it was.
        """
        text = msgspec.json.format(write_record(record), indent=2)
        try:
            with self._lock():
                replace_file(self.path, text)
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}") from error

    def delete(self) -> bool:
        """Whether there was a file.

        :raises StorageError: it cannot be removed.
        """
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(f"cannot delete {self.path}: {error.strerror}") from error
        return True

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """For as long as a replacement takes, so it is simply waited for."""
        fd = os.open(os.path.join(self._home, LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def replace_file(path: str, data: bytes) -> None:
    """As a whole, readable by its owner only; survives a power loss. A link is followed.

    :raises OSError: it cannot be written; the old file is then as it was.
    """
    target = os.path.realpath(path)
    draft = f"{target}.{secrets.token_hex(8)}.tmp"
    try:
        _write(draft, data)
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
    _sync_folder(os.path.dirname(target))


def _write(path: str, data: bytes) -> None:
    # O_EXCL: the mode holds for the file we make, not for one that somebody put there
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with open(fd, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(fd)


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
