"""Where credentials are kept: `cli_auth_credentials_store`."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Literal, Protocol

from auth.errors import KeyringUnavailableError, StorageError
from auth.keyring_store import DEFAULT_TIMEOUT_S, KeyringStorage
from auth.record import AuthRecord
from auth.storage import FileStorage

__all__ = ["AutoStorage", "EphemeralStorage", "Storage", "StoreName", "open_storage"]

log = logging.getLogger("bulkhead.auth")

StoreName = Literal["file", "keyring", "auto", "ephemeral"]


class Storage(Protocol):
    """Where one record is. Each method may block (a file system, a keyring) and raises StorageError."""

    @property
    def place(self) -> str:
        """Where the record is, or would be, for people."""
        ...

    def probe(self) -> None:
        """Find out before a login begins that it could not be kept."""
        ...

    def load(self) -> AuthRecord | None: ...
    def save(self, record: AuthRecord) -> None: ...
    def delete(self) -> bool:
        """Everywhere. Whether there was something."""
        ...


class EphemeralStorage:
    """The memory of the process."""

    place = "the memory of this process"

    def __init__(self) -> None:
        self._record: AuthRecord | None = None

    def probe(self) -> None:
        pass

    def load(self) -> AuthRecord | None:
        return self._record

    def save(self, record: AuthRecord) -> None:
        self._record = record

    def delete(self) -> bool:
        found, self._record = self._record is not None, None
        return found


class Outdated:
    """An empty file in the home: what the keyring has is older than what has been done since."""

    def __init__(self, home: str) -> None:
        self._path = os.path.join(home, "auth.keyring-outdated")

    @property
    def is_set(self) -> bool:
        return os.path.exists(self._path)

    def set(self) -> None:
        """:raises StorageError: it cannot be written."""
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error

    def clear(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path)


class KeyringOnlyStorage:
    """The keyring; a file from before is removed when the keyring has the record."""

    def __init__(self, keyring: KeyringStorage, file: FileStorage, home: str) -> None:
        self._keyring = keyring
        self._file = file
        self._outdated = Outdated(home)

    @property
    def place(self) -> str:
        return self._keyring.place

    def probe(self) -> None:
        self._keyring.probe()

    def load(self) -> AuthRecord | None:
        return self._keyring.load()

    def save(self, record: AuthRecord) -> None:
        try:
            self._keyring.save(record)
        except KeyringUnavailableError as error:
            # The peer's words; clients may match on them.
            raise KeyringUnavailableError(f"failed to write OAuth tokens to keyring: {error}") from None
        self._outdated.clear()
        self._file.delete()

    def delete(self) -> bool:
        found = self._file.delete()
        found = self._keyring.delete() or found
        self._outdated.clear()
        return found


class AutoStorage:
    """The keyring where there is a working one, else the file. It says on the log which, when it is the file.

    A record is in one place only: what is saved to one is removed from the other. A keyring that does not answer keeps
    what it has; a mark in the home says that this is out of date, for when it answers again.
    """

    def __init__(self, keyring: KeyringStorage, file: FileStorage, home: str) -> None:
        self._keyring = keyring
        self._file = file
        self._outdated = Outdated(home)
        self._place: Storage = keyring

    @property
    def place(self) -> str:
        return self._place.place

    def probe(self) -> None:
        try:
            self._keyring.probe()
        except KeyringUnavailableError as error:
            log.warning("credentials will be kept in %s: %s", self._file.path, error)
            self._file.probe()

    def load(self) -> AuthRecord | None:
        if self._outdated.is_set:
            kept = self._file.load()
            if kept is not None or self._outdated.is_set:  # else somebody has just saved to the keyring
                self._place = self._file
                return kept
        try:
            record = self._keyring.load()
        except StorageError as error:
            log.warning("credentials are read from %s: %s", self._file.path, error)
            record = None
        self._place = self._keyring if record is not None else self._file
        return record if record is not None else self._file.load()

    def save(self, record: AuthRecord) -> None:
        try:
            self._keyring.save(record)
        except KeyringUnavailableError as error:
            log.warning("credentials are kept in %s: %s", self._file.path, error)
            self._outdated.set()
            self._file.save(record)
            self._place = self._file
            self._empty_keyring()
        else:
            # In this order: whoever reads in between finds one of them.
            self._outdated.clear()
            self._file.delete()
            self._place = self._keyring

    def delete(self) -> bool:
        self._outdated.set()
        found = self._file.delete()
        return self._empty_keyring() or found

    def _empty_keyring(self) -> bool:
        try:
            found = self._keyring.delete()
        except KeyringUnavailableError as error:
            log.warning("what the keyring has of an earlier login cannot be deleted now: %s", error)
            return False
        self._outdated.clear()
        return found


def open_storage(name: StoreName, home: str, keyring_timeout_s: float = DEFAULT_TIMEOUT_S) -> Storage:
    """The store of that name for a home."""
    if name == "ephemeral":
        return EphemeralStorage()
    file = FileStorage(home)
    if name == "file":
        return file
    keyring = KeyringStorage(home, keyring_timeout_s)
    return KeyringOnlyStorage(keyring, file, home) if name == "keyring" else AutoStorage(keyring, file, home)
