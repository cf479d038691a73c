"""Whose login a record is."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from auth.claims import claims_of, is_jwt
from auth.errors import LoginError, UnsupportedAuthModeError
from auth.plans import plan_type
from auth.record import AuthRecord, Tokens, mode_of

if TYPE_CHECKING:
    from auth.issuer import TokenReply

__all__ = [
    "Account",
    "AccountMode",
    "account_of",
    "external_record",
    "key_record",
    "now_text",
    "token_record",
]

AccountMode = Literal["apikey", "chatgpt", "chatgptAuthTokens"]
_MODES = ("apikey", "chatgpt", "chatgptAuthTokens")
_PLAN = "chatgpt_plan_type"
"""In `extra` of a record that a client supplied the tokens of; such a record is never stored."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """`plan` is the protocol's plan type; it and what follows are None for an API key."""

    mode: AccountMode
    email: str | None = None
    plan: str | None = None
    user_id: str | None = None
    account_id: str | None = None


def account_of(record: AuthRecord | None) -> Account | None:
    """None without a login.

    :raises UnsupportedAuthModeError: the record is of another kind.
    """
    if record is None:
        return None
    mode = mode_of(record)
    if mode not in _MODES:
        raise UnsupportedAuthModeError(f"the auth mode `{mode}` is not supported; log in again")
    if mode == "apikey":
        # An empty key is one: Codex takes it, and says so.
        return None if record.api_key is None else Account(mode="apikey")
    tokens = record.tokens
    if tokens is None or not tokens.access_token:
        return None
    claims = tokens.claims
    plan = record.extra.get(_PLAN) or claims.plan
    return Account(
        mode=cast("AccountMode", mode),
        email=claims.email,
        plan=plan_type(plan if isinstance(plan, str) else None),
        user_id=claims.user_id,
        account_id=tokens.account,
    )


def key_record(key: str) -> AuthRecord:
    return AuthRecord(auth_mode="apikey", api_key=key)


def token_record(reply: TokenReply, api_key: str | None, provenance: dict[str, str]) -> AuthRecord:
    """A new ChatGPT login."""
    id_token = reply.id_token or ""
    return AuthRecord(
        auth_mode="chatgpt",
        api_key=api_key,
        tokens=Tokens(
            id_token=id_token,
            access_token=reply.access_token or "",
            refresh_token=reply.refresh_token or "",
            account_id=claims_of(id_token).account_id,
            oauth_provenance=dict(provenance),
            login_owner_id=secrets.token_urlsafe(32),
        ),
        last_refresh=now_text(),
    )


def external_record(access_token: str, account_id: str, plan: str | None) -> AuthRecord:
    """A login whose tokens a client supplies and renews.

    :raises LoginError: the token says nothing about itself.
    """
    if not is_jwt(access_token):
        raise LoginError("invalid ID token format")
    tokens = Tokens(id_token=access_token, access_token=access_token, refresh_token="", account_id=account_id)
    return AuthRecord(auth_mode="chatgptAuthTokens", tokens=tokens, extra={_PLAN: plan} if plan else {})


def now_text() -> str:
    """Now, as `last_refresh` has it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
