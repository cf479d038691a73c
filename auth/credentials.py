"""From a stored login to the headers of a request. The broker calls this; a worker only gets the result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

from auth.errors import InvalidHeaderError, MissingVariableError, UnsupportedAuthModeError
from auth.record import AuthRecord, mode_of
from auth.secrecy import Discreet

__all__ = ["Credentials", "HeaderSource", "credentials_of", "headers_for", "uses_chatgpt"]

AUTHORIZATION = "authorization"
ACCOUNT_HEADER = "chatgpt-account-id"
# The token characters of RFC 9110; names are sent in lower case.
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")

Mode = Literal["apikey", "chatgpt"]


class Credentials(Discreet, frozen=True, kw_only=True):
    """A login. `bearer` is the API key or the ChatGPT access token, `account_id` goes with the latter."""

    mode: Mode
    bearer: str
    account_id: str | None = None

    shown: ClassVar[frozenset[str]] = frozenset({"mode", "account_id"})


class HeaderSource(Protocol):
    """The part of a model provider that decides about headers (`config.providers.ModelProvider` is one)."""

    @property
    def env_key(self) -> str | None: ...
    @property
    def env_key_instructions(self) -> str | None: ...
    @property
    def experimental_bearer_token(self) -> str | None: ...
    @property
    def http_headers(self) -> Mapping[str, str] | None: ...
    @property
    def env_http_headers(self) -> Mapping[str, str] | None: ...
    @property
    def requires_openai_auth(self) -> bool: ...


def credentials_of(record: AuthRecord | None) -> Credentials | None:
    """The login that a record holds; None if there is none.

    :raises UnsupportedAuthModeError: the record is of another kind.
    """
    if record is None:
        return None
    mode = mode_of(record)
    if mode == "apikey":
        return Credentials(mode="apikey", bearer=record.api_key) if record.api_key else None
    if mode in ("chatgpt", "chatgptAuthTokens"):
        tokens = record.tokens
        if tokens is None or not tokens.access_token:
            return None
        return Credentials(mode="chatgpt", bearer=tokens.access_token, account_id=tokens.account)
    raise UnsupportedAuthModeError(f"the auth mode `{mode}` is not supported; log in again")


def headers_for(
    provider: HeaderSource, environ: Mapping[str, str], credentials: Credentials | None = None
) -> dict[str, str]:
    """The headers that make a request acceptable to `provider`; all names are in lower case.

    What authorizes, first match: the variable `env_key`, the `experimental_bearer_token`, and the login, but
    that only where the provider `requires_openai_auth`: a token of OpenAI's goes to nobody else. Without a
    login such a request goes out unauthorized, as the peer's does, and clients learn from the 401 to log in.
    `http_headers` come first and `env_http_headers` (header to variable; unset ones are left out) over them.

    :raises MissingVariableError: `env_key` names a variable that is unset or blank.
    :raises InvalidHeaderError: a name or a value cannot stand in a header.
    """
    headers: dict[str, str] = {}
    for name, value in (provider.http_headers or {}).items():
        _set(headers, name, value)
    for name, variable in (provider.env_http_headers or {}).items():
        value = environ.get(variable, "")
        if value.strip():
            _set(headers, name, value)
    if provider.env_key is not None:
        key = environ.get(provider.env_key, "").strip()
        if not key:
            raise MissingVariableError(provider.env_key, provider.env_key_instructions)
        _set(headers, AUTHORIZATION, f"Bearer {key}")
    elif provider.experimental_bearer_token is not None:
        _set(headers, AUTHORIZATION, f"Bearer {provider.experimental_bearer_token}")
    elif provider.requires_openai_auth and credentials is not None:
        _set(headers, AUTHORIZATION, f"Bearer {credentials.bearer}")
        if uses_chatgpt(provider, credentials) and credentials.account_id:
            _set(headers, ACCOUNT_HEADER, credentials.account_id)
    return headers


def uses_chatgpt(provider: HeaderSource, credentials: Credentials | None) -> bool:
    """Whether `headers_for` authorizes with a ChatGPT login: its requests have a base URL of their own."""
    own_key = provider.env_key is not None or provider.experimental_bearer_token is not None
    login = credentials is not None and credentials.mode == "chatgpt"
    return login and provider.requires_openai_auth and not own_key


def _set(headers: dict[str, str], name: str, value: str) -> None:
    name = name.lower()
    if not _NAME.fullmatch(name):
        raise InvalidHeaderError(f"not a valid HTTP header name: {name!r}")
    value = value.strip()
    if not _VALUE.fullmatch(value):
        # the value may be a secret
        raise InvalidHeaderError(f"the value of the HTTP header `{name}` has characters that cannot be sent")
    headers[name] = value
