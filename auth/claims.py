"""What a token says about itself. Its signature is the business of those it is shown to."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

__all__ = ["account_of", "claims_of"]

AUTH_CLAIM = "https://api.openai.com/auth"


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT; empty for what is none, since any opaque text may be a token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    body = parts[1]
    try:
        # JWTs leave the padding out
        claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def account_of(token: str) -> str | None:
    """The ChatGPT account that a token was made for."""
    scope = claims_of(token).get(AUTH_CLAIM)
    account = scope.get("chatgpt_account_id") if isinstance(scope, dict) else None
    return account if isinstance(account, str) and account else None
