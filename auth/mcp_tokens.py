"""Tokens for MCP servers: `.credentials.json` in the home directory, in the form that Codex writes it in."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any, ClassVar

import msgspec

from auth.errors import StorageError
from auth.secrecy import Discreet
from auth.storage import replace_file

__all__ = ["McpToken", "McpTokens"]

MCP_CREDENTIALS_FILE = ".credentials.json"
EARLY_MS = 30_000
"""A token is renewed so long before its end."""


class McpToken(Discreet, frozen=True, kw_only=True):
    """`expires_at`: ms since 1970; None: nobody said."""

    server_name: str
    server_url: str
    client_id: str
    access_token: str
    expires_at: int | None = None
    refresh_token: str | None = None
    scopes: tuple[str, ...] = ()

    shown: ClassVar[frozenset[str]] = frozenset({"server_name", "server_url", "expires_at", "scopes"})

    @property
    def stale(self) -> bool:
        return self.expires_at is not None and self.expires_at - EARLY_MS < time.time() * 1000


class McpTokens:
    """Holds nothing in memory: another program may log in at any time."""

    def __init__(self, home: str) -> None:
        self._path = os.path.join(home, MCP_CREDENTIALS_FILE)

    def load(self, name: str, url: str) -> McpToken | None:
        """The token for the server of this name at this address.

        :raises StorageError: the file cannot be read, or its entry not be understood.
        """
        entry = self._entries().get(_key(name, url))
        try:
            return None if entry is None else msgspec.convert(entry, McpToken)
        except msgspec.ValidationError as error:
            raise StorageError(f"cannot read {self._path}: {error}") from None

    def save(self, token: McpToken) -> None:
        """:raises StorageError: the file cannot be read or written."""
        entries = self._entries()
        entries[_key(token.server_name, token.server_url)] = msgspec.to_builtins(token)
        try:
            replace_file(self._path, msgspec.json.format(msgspec.json.encode(entries), indent=2))
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error

    def _entries(self) -> dict[str, Any]:
        try:
            with open(self._path, "rb") as stream:
                return msgspec.json.decode(stream.read(), type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {error.strerror}") from error
        except msgspec.MsgspecError:
            raise StorageError(f"cannot read {self._path}: it is not of the right form") from None


def _key(name: str, url: str) -> str:
    """As Codex makes it: a server of the same name at another address has a token of its own."""
    payload = msgspec.json.encode({"headers": {}, "type": "http", "url": url})
    return f"{name}|{hashlib.sha256(payload).hexdigest()[:16]}"
