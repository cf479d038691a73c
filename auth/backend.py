"""The backend of ChatGPT accounts: where an account's requests go, its limits, what it has used.

Its types are generated: `scripts/generate_backend_types` makes `backend_types.py` of `backend.openapi.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from auth import backend_types as types
from auth.errors import BackendError
from auth.record import AuthRecord
from network.transport import NetworkSettingError

__all__ = ["Backend"]

DEFAULT_URL = "https://chatgpt.com/backend-api"
OVERRIDE = "CODEX_APP_SERVER_CHATGPT_BASE_URL"
TIMEOUT_S = 20.0

T = TypeVar("T")


class Backend:
    """`client` is used, not owned. All methods raise BackendError, with `status` 401 where the login is not taken."""

    def __init__(self, client: httpx.AsyncClient, base_url: str, environ: Mapping[str, str]) -> None:
        base = (environ.get(OVERRIDE) or base_url or DEFAULT_URL).rstrip("/")
        self._client = client
        # ChatGPT's own paths, and those of a Codex API elsewhere
        self._root = f"{base}/wham" if "/backend-api" in base else f"{base}/api/codex"

    async def route(self, record: AuthRecord) -> types.AccountRoute:
        """Where requests of the account go. Texts of errors are those that clients are shown."""
        try:
            check = await self._get("accounts/check", record, types.AccountsCheck)
        except BackendError as error:
            raise BackendError("workspace routing discovery failed", error.status) from error
        account = record.tokens.account if record.tokens else None
        for route in check.accounts:
            if route.id == account:
                return route
        raise BackendError("selected workspace missing from routing discovery")

    async def usage(self, record: AuthRecord) -> types.Usage:
        return await self._get("usage", record, types.Usage)

    async def reset_credits(self, record: AuthRecord) -> types.ResetCredits:
        return await self._get("rate-limit-reset-credits", record, types.ResetCredits)

    async def profile(self, record: AuthRecord) -> types.Profile:
        return await self._get("profiles/me", record, types.Profile)

    async def _get(self, path: str, record: AuthRecord, kind: type[T]) -> T:
        assert record.tokens is not None
        url = f"{self._root}/{path}"
        headers = {"authorization": f"Bearer {record.tokens.access_token}"}
        if account := record.tokens.account:
            headers["chatgpt-account-id"] = account
        try:
            response = await self._client.get(url, headers=headers, timeout=TIMEOUT_S)
        except (httpx.RequestError, httpx.InvalidURL, NetworkSettingError, UnicodeEncodeError):
            raise BackendError(f"error sending request for url ({url})") from None
        if not response.is_success:
            phrase = httpx.codes.get_reason_phrase(response.status_code)
            # Without the body, which may repeat what was sent.
            raise BackendError(f"GET {url} failed: {response.status_code} {phrase}", response.status_code)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BackendError(f"GET {url}: the answer is not understood: {error}") from None
