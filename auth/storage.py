"""`auth.json` in the home directory, in the format of Codex 0.169, which also reads what 0.58 wrote.

Keys that are not known here are kept when the file is written again: both programs may share one file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import Any, ClassVar

import msgspec

from auth.errors import StorageError
from auth.secrecy import Discreet

__all__ = ["AUTH_FILE", "AuthRecord", "FileStorage", "Tokens"]

AUTH_FILE = "auth.json"
FILE_MODE = 0o600


class Tokens(Discreet, frozen=True, kw_only=True):
    """Of a ChatGPT login. `id_token` and `access_token` are JWTs."""

    id_token: str
    access_token: str
    refresh_token: str
    account_id: str | None = None
    oauth_provenance: dict[str, Any] | None = None
    login_owner_id: str | None = None

    shown: ClassVar[frozenset[str]] = frozenset({"account_id"})


class AuthRecord(Discreet, frozen=True, kw_only=True):
    """The whole file. `last_refresh` is an RFC 3339 time; `extra` holds the keys that are not known here."""

    auth_mode: str | None = None
    api_key: str | None = msgspec.field(name="OPENAI_API_KEY", default=None)
    tokens: Tokens | None = None
    last_refresh: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    shown: ClassVar[frozenset[str]] = frozenset({"auth_mode", "tokens", "last_refresh"})


# `extra` is no key of the file
_KEYS = ("auth_mode", "OPENAI_API_KEY", "tokens", "last_refresh")


class FileStorage:
    """The store `file`. Holds nothing in memory: another program may log in or out at any time."""

    def __init__(self, home: str) -> None:
        self.path = os.path.join(home, AUTH_FILE)

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
        try:
            document = msgspec.json.decode(text, type=dict[str, Any])
            known = {key: document[key] for key in _KEYS if key in document}
            extra = {key: value for key, value in document.items() if key not in _KEYS}
            return msgspec.convert({**known, "extra": extra}, AuthRecord)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # msgspec names types and places, never values
            raise StorageError(f"{self.path} is damaged: {error}") from None

    def save(self, record: AuthRecord) -> None:
        """Replaces the file as a whole, readable by its owner only; survives a power loss.

        A link is followed, so that a file kept elsewhere stays there.

        :raises StorageError: it cannot be written; the old file is then as it was.
        """
        target = os.path.realpath(self.path)
        document = {key: value for key, value in msgspec.to_builtins(record).items() if key in _KEYS}
        if document["tokens"] is None:
            # the peer leaves both out for a key
            del document["tokens"]
            if document["last_refresh"] is None:
                del document["last_refresh"]
        else:
            document["tokens"] = {k: v for k, v in document["tokens"].items() if v is not None}
        text = msgspec.json.format(msgspec.json.encode({**document, **record.extra}), indent=2)
        draft = f"{target}.{secrets.token_hex(8)}.tmp"
        try:
            try:
                _write(draft, text)
                os.replace(draft, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
            _sync_folder(os.path.dirname(target))
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
