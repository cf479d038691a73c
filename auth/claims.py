"""What a token says about itself. Its signature is the business of those it is shown to."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

__all__ = ["Claims", "claims_of", "is_jwt"]

AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """`plan` is the issuer's own name for it (see `auth.plans`); `expires_at` in unix seconds."""

    email: str | None = None
    plan: str | None = None
    user_id: str | None = None
    account_id: str | None = None
    expires_at: float | None = None


def is_jwt(token: str) -> bool:
    return _payload(token) is not None


def claims_of(token: str) -> Claims:
    """The claims of a JWT; none at all for what is no JWT, since any opaque text may be a token."""
    payload = _payload(token) or {}
    scope, profile = _object(payload.get(AUTH_CLAIM)), _object(payload.get(PROFILE_CLAIM))
    expires_at = payload.get("exp")
    return Claims(
        email=_text(payload.get("email")) or _text(profile.get("email")),
        plan=_text(scope.get("chatgpt_plan_type")),
        user_id=_text(scope.get("chatgpt_user_id")) or _text(scope.get("user_id")),
        account_id=_text(scope.get("chatgpt_account_id")),
        expires_at=float(expires_at) if isinstance(expires_at, int | float) else None,
    )


def _payload(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    body = parts[1]
    try:
        # JWTs leave the padding out
        payload = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError):
        return None
    return payload if isinstance(payload, dict) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
