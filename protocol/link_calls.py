"""What a worker may ask the front (frame CALL), and what comes back (frame RETURN)."""

from __future__ import annotations

import msgspec

__all__ = ["Authorization", "AuthorizeCall"]


class AuthorizeCall(msgspec.Struct, kw_only=True, tag="authorize"):
    """The credential headers for one request to a provider, named by its id in the configuration."""

    provider: str


class Authorization(msgspec.Struct, kw_only=True):
    """`problem`: why there are no credentials, with what to do about it."""

    headers: dict[str, str] = {}
    chatgpt_login: bool = False
    problem: str | None = None

    def __repr__(self) -> str:
        return f"Authorization(headers of {sorted(self.headers)})"
