"""What a login is, in the format of Codex 0.169, which also reads what 0.58 wrote.

Keys that are not known here are kept when the record is written again: both programs may share one.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from auth.claims import Claims, claims_of
from auth.errors import StorageError
from auth.secrecy import Discreet

__all__ = ["AuthRecord", "Tokens", "mode_of", "read_record", "write_record"]


class Tokens(Discreet, frozen=True, kw_only=True):
    """Of a ChatGPT login. `id_token` and `access_token` are JWTs."""

    id_token: str
    access_token: str
    refresh_token: str
    account_id: str | None = None
    oauth_provenance: dict[str, Any] | None = None
    login_owner_id: str | None = None

    shown: ClassVar[frozenset[str]] = frozenset({"account_id"})

    @property
    def account(self) -> str | None:
        """The account the tokens were made for."""
        told = self.account_id or claims_of(self.id_token).account_id
        return told or claims_of(self.access_token).account_id

    @property
    def claims(self) -> Claims:
        """Who it is: what the id token says."""
        return claims_of(self.id_token)


class AuthRecord(Discreet, frozen=True, kw_only=True):
    """The whole record. `last_refresh` is an RFC 3339 time; `extra` holds the keys that are not known here."""

    auth_mode: str | None = None
    api_key: str | None = msgspec.field(name="OPENAI_API_KEY", default=None)
    tokens: Tokens | None = None
    last_refresh: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    shown: ClassVar[frozenset[str]] = frozenset({"auth_mode", "tokens", "last_refresh"})


# `extra` is no key of the record
_KEYS = ("auth_mode", "OPENAI_API_KEY", "tokens", "last_refresh")


def mode_of(record: AuthRecord) -> str:
    """The kind of login. A record without `auth_mode` (Codex 0.58) is an API key if it has one, even beside tokens."""
    return record.auth_mode or ("apikey" if record.api_key is not None else "chatgpt")


def read_record(text: bytes | str, place: str) -> AuthRecord:
    """`place` names where the text is from.

    :raises StorageError: it is no such record.
    """
    try:
        document = msgspec.json.decode(text, type=dict[str, Any])
        known = {key: document[key] for key in _KEYS if key in document}
        extra = {key: value for key, value in document.items() if key not in _KEYS}
        return msgspec.convert({**known, "extra": extra}, AuthRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec names types and places, never values
        raise StorageError(f"{place} is damaged: {error}") from None


def write_record(record: AuthRecord) -> bytes:
    """Compact JSON. An old record stays one without `auth_mode`."""
    document = {key: value for key, value in msgspec.to_builtins(record).items() if key in _KEYS}
    if document["tokens"] is None:
        # the peer leaves both out for a key
        del document["tokens"]
        if document["last_refresh"] is None:
            del document["last_refresh"]
    else:
        document["tokens"] = {k: v for k, v in document["tokens"].items() if v is not None}
    return msgspec.json.encode({**document, **record.extra})
