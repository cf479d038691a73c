"""Where credentials are kept: `cli_auth_credentials_store`."""

from __future__ import annotations

import logging
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


class KeyringOnlyStorage:
    """The keyring; a file from before is removed when the keyring has the record."""

    def __init__(self, keyring: KeyringStorage, file: FileStorage) -> None:
        self._keyring = keyring
        self._file = file

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
        self._file.delete()

    def delete(self) -> bool:
        found = self._file.delete()
        return self._keyring.delete() or found


class AutoStorage:
    """The keyring where there is a working one, else the file. It says on the log which, when it is the file.

    A record is in one place only: what is saved to one is removed from the other, as far as that answers.
    """

    def __init__(self, keyring: KeyringStorage, file: FileStorage) -> None:
        self._keyring = keyring
        self._file = file
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
            self._file.save(record)
            self._place = self._file
            with suppress(KeyringUnavailableError):
                self._keyring.delete()
        else:
            self._file.delete()
            self._place = self._keyring

    def delete(self) -> bool:
        found = self._file.delete()
        try:
            return self._keyring.delete() or found
        except KeyringUnavailableError:
            return found


def open_storage(name: StoreName, home: str, keyring_timeout_s: float = DEFAULT_TIMEOUT_S) -> Storage:
    """The store of that name for a home."""
    if name == "ephemeral":
        return EphemeralStorage()
    file = FileStorage(home)
    if name == "file":
        return file
    keyring = KeyringStorage(home, keyring_timeout_s)
    return KeyringOnlyStorage(keyring, file) if name == "keyring" else AutoStorage(keyring, file)
