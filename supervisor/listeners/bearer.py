"""Who may come in through a websocket port: the peer's two kinds of bearer tokens.

*capability-token*: whoever knows the token; we need to know no more than its SHA-256.
*signed-bearer-token*: a JWT signed with a shared secret (HS256), with an end, and an issuer and audience if demanded.

The words of the refusals are the peer's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from typing import Literal, Protocol

import msgspec

__all__ = ["Bearer", "BearerError", "BearerOptions", "Refusal", "bearer_of"]

MIN_SECRET_BYTES = 32
"""A shorter secret could be guessed from one token; the peer's limit."""
CLOCK_SKEW_S = 30
"""The peer's allowance for clocks that differ."""
MAX_FILE_BYTES = 64 * 1024
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_SCHEME = "bearer "


class BearerError(ValueError):
    """The options do not say who may come in."""


class Refusal(Exception):
    """The client may not come in; the text is for it."""


class BearerOptions(msgspec.Struct, kw_only=True, frozen=True):
    """The `--ws-*` options as given."""

    mode: Literal["capability-token", "signed-bearer-token"] | None = None
    token_file: str | None = None
    token_sha256: str | None = None
    secret_file: str | None = None
    issuer: str | None = None
    audience: str | None = None
    max_clock_skew_s: int | None = None


class Bearer(Protocol):
    def check(self, authorization: str | None) -> None:
        """Look at the Authorization header.

        Raises:
            Refusal
        """


class _Capability:
    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def check(self, authorization: str | None) -> None:
        given = hashlib.sha256(_token(authorization).encode()).digest()
        if not hmac.compare_digest(given, self._digest):
            raise Refusal("invalid websocket bearer token")


class _Signed:
    def __init__(self, secret: bytes, options: BearerOptions) -> None:
        self._secret = secret
        self._issuer = options.issuer
        self._audience = options.audience
        self._leeway = CLOCK_SKEW_S if options.max_clock_skew_s is None else options.max_clock_skew_s

    def check(self, authorization: str | None) -> None:
        import jwt  # noqa: PLC0415  # 20 ms that only servers with this mode have to spend

        try:
            jwt.decode(
                _token(authorization),
                self._secret,
                algorithms=["HS256"],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp"], "verify_aud": self._audience is not None, "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise Refusal("expired websocket jwt") from None
        except jwt.ImmatureSignatureError:
            raise Refusal("websocket jwt is not valid yet") from None
        except jwt.InvalidIssuerError:
            raise Refusal("websocket jwt issuer mismatch") from None
        except jwt.InvalidAudienceError:
            raise Refusal("websocket jwt audience mismatch") from None
        except jwt.MissingRequiredClaimError as error:
            text = {"iss": "websocket jwt issuer mismatch", "aud": "websocket jwt audience mismatch"}
            raise Refusal(text.get(error.claim, "invalid websocket jwt")) from None
        except jwt.InvalidTokenError:
            raise Refusal("invalid websocket jwt") from None


def bearer_of(options: BearerOptions) -> Bearer | None:
    """The check that the options ask for; None if they ask for none.

    Raises:
        BearerError: they contradict each other, lack something, or a file cannot be read.
    """
    if options.mode is None:
        if options != BearerOptions():
            raise BearerError(
                "websocket auth flags require `--ws-auth capability-token` or `--ws-auth signed-bearer-token`"
            )
        return None
    if options.mode == "capability-token":
        return _Capability(_digest(options))
    if options.secret_file is None:
        raise BearerError("`--ws-shared-secret-file` is required when `--ws-auth signed-bearer-token` is set")
    secret = _read(options.secret_file)
    if len(secret) < MIN_SECRET_BYTES:
        raise BearerError(
            f"signed websocket bearer secret {os.path.abspath(options.secret_file)} "
            f"must be at least {MIN_SECRET_BYTES} bytes"
        )
    return _Signed(secret, options)


def _digest(options: BearerOptions) -> bytes:
    if options.token_file is not None and options.token_sha256 is not None:
        raise BearerError("`--ws-token-file` and `--ws-token-sha256` are mutually exclusive")
    if options.token_sha256 is not None:
        if not _DIGEST.fullmatch(options.token_sha256):
            raise BearerError("--ws-token-sha256 must be a 64-character hex SHA-256 digest")
        return bytes.fromhex(options.token_sha256)
    if options.token_file is None:
        raise BearerError(
            "`--ws-token-file` or `--ws-token-sha256` is required when `--ws-auth capability-token` is set"
        )
    token = _read(options.token_file)
    if not token:
        raise BearerError(f"websocket auth secret {os.path.abspath(options.token_file)} must not be empty")
    return hashlib.sha256(token).digest()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES).strip()
    except OSError as error:
        raise BearerError(
            f"failed to read websocket auth secret {os.path.abspath(path)}: "
            f"{error.strerror} (os error {error.errno})"
        ) from None


def _token(authorization: str | None) -> str:
    if authorization is None:
        raise Refusal("missing websocket bearer token")
    given = authorization[len(_SCHEME) :].strip()
    if not (authorization.isascii() and authorization.lower().startswith(_SCHEME) and given):
        raise Refusal("invalid authorization header")
    return given
