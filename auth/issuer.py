"""The issuer of ChatGPT logins, as it is spoken to over HTTP. Nothing here is stored.

Bodies and paths are those that Codex 0.169 uses. The environment may name another issuer, as it may for Codex:
CODEX_APP_SERVER_LOGIN_ISSUER, CODEX_APP_SERVER_LOGIN_CLIENT_ID, CODEX_REFRESH_TOKEN_URL_OVERRIDE and
CODEX_REVOKE_TOKEN_URL_OVERRIDE.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from auth.errors import DeviceCodesDisabledError, LoginError, RefreshError, RefreshRefusedError
from auth.secrecy import Discreet
from network.transport import NetworkSettingError

__all__ = ["DeviceCode", "Issuer", "Pkce", "TokenReply"]

DEFAULT_ISSUER = "https://auth.openai.com"
DEFAULT_CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
SCOPE = "openid profile email offline_access api.connectors.read api.connectors.invoke"
TIMEOUT_S = 20.0
"""An issuer that is slower is as good as gone to somebody who waits for a page."""
REVOKE_TIMEOUT_S = 5.0
"""A logout has to end even where nobody answers."""

T = TypeVar("T")

_REFUSED = "Your access token could not be refreshed because your refresh token "
_PERMANENT = {
    "refresh_token_expired": _REFUSED + "has expired. Please log out and sign in again.",
    "refresh_token_reused": _REFUSED + "was already used. Please log out and sign in again.",
    "refresh_token_invalidated": _REFUSED + "was revoked. Please log out and sign in again.",
}
_REFUSED_SOMEHOW = "Your access token could not be refreshed. Please log out and sign in again."
COMPLAINT_CHARACTERS = 500
"""Of what an issuer says in an error; more is a web page."""
_TRANSPORT_ERRORS = (httpx.HTTPError, httpx.InvalidURL, NetworkSettingError)


class Pkce(Discreet, frozen=True, kw_only=True):
    """RFC 7636, method S256."""

    verifier: str
    challenge: str

    @classmethod
    def new(cls) -> Pkce:
        verifier = secrets.token_urlsafe(64)
        digest = hashlib.sha256(verifier.encode()).digest()
        return cls(verifier=verifier, challenge=base64.urlsafe_b64encode(digest).rstrip(b"=").decode())


class TokenReply(Discreet, frozen=True, kw_only=True):
    """What the token endpoint gives; at a refresh any of them may be absent, which means: as it was."""

    id_token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None


class DeviceCode(Discreet, frozen=True, kw_only=True):
    """`interval` in seconds, often as text."""

    device_auth_id: str
    user_code: str
    interval: str | float = "5"

    shown: ClassVar[frozenset[str]] = frozenset({"interval"})

    @property
    def pause_s(self) -> float:
        """Between two questions. Raises ValueError: the issuer's text is no number."""
        return float(self.interval)


class DeviceGrant(Discreet, frozen=True, kw_only=True):
    authorization_code: str
    code_verifier: str


class Issuer:
    """`client` is used, not owned."""

    def __init__(self, client: httpx.AsyncClient, environ: Mapping[str, str]) -> None:
        self._client = client
        self.url = (environ.get("CODEX_APP_SERVER_LOGIN_ISSUER") or DEFAULT_ISSUER).rstrip("/")
        self.client_id = environ.get("CODEX_APP_SERVER_LOGIN_CLIENT_ID") or DEFAULT_CLIENT_ID
        self._token_url = f"{self.url}/oauth/token"
        self._refresh_url = environ.get("CODEX_REFRESH_TOKEN_URL_OVERRIDE") or self._token_url
        self._revoke_url = environ.get("CODEX_REVOKE_TOKEN_URL_OVERRIDE") or f"{self.url}/oauth/revoke"

    @property
    def provenance(self) -> dict[str, str]:
        return {"issuer": self.url, "client_id": self.client_id}

    def authorize_url(
        self, *, redirect_uri: str, pkce: Pkce, state: str, originator: str, workspaces: tuple[str, ...]
    ) -> str:
        """The page on which a person agrees."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "code_challenge": pkce.challenge,
            "code_challenge_method": "S256",
            "state": state,
            "scope": SCOPE,
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "originator": originator,
        }
        if workspaces:
            query["allowed_workspace_id"] = ",".join(workspaces)
        return f"{self.url}/oauth/authorize?{urlencode(query)}"

    async def exchange(self, code: str, *, redirect_uri: str, verifier: str) -> TokenReply:
        """Tokens for an authorization code.

        :raises LoginError: there are none to be had.
        """
        form = {
            "grant_type": "authorization_code",
            "client_id": self.client_id,
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        response = await self._post(self._token_url, "Token exchange failed", data=form)
        if not response.is_success:
            told = f"token endpoint returned status {_status(response)}: {_complaint(response)}"
            raise LoginError(f"Token exchange failed: {told.removesuffix(': ')}")
        reply = _decoded(response, TokenReply)
        if reply is None or not (reply.id_token and reply.access_token and reply.refresh_token):
            raise LoginError("Token exchange failed: OAuth token response is invalid")
        return reply

    async def api_key(self, id_token: str) -> str | None:
        """An API key of the account; None where it may have none, which is no failure."""
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "client_id": self.client_id,
            "requested_token": "openai-api-key",
            "subject_token": id_token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        }
        try:
            response = await self._post(self._token_url, "", data=form)
        except LoginError:
            return None
        reply = _decoded(response, TokenReply) if response.is_success else None
        return reply.access_token if reply else None

    async def refresh(self, refresh_token: str, reason: str) -> TokenReply:
        """New tokens for a refresh token, which is of no use afterwards.

        :raises RefreshRefusedError: the issuer will never take it.
        :raises RefreshError: it did not work this time.
        """
        body = {
            "client_id": self.client_id,
            "grant_type": "refresh_token",
            "refresh_reason": reason,
            "refresh_token": refresh_token,
        }
        try:
            response = await self._ask(self._refresh_url, json=body)
        except _TRANSPORT_ERRORS as error:
            raise RefreshError(f"the tokens could not be refreshed: {_reason(error)}") from None
        if _refuses(response):
            raise RefreshRefusedError(_PERMANENT.get(_error_code(response) or "", _REFUSED_SOMEHOW))
        reply = _decoded(response, TokenReply) if response.is_success else None
        if reply is None:
            raise RefreshError(f"the tokens could not be refreshed: the issuer answered {_status(response)}")
        return reply

    async def revoke(self, refresh_token: str) -> bool:
        """Whether the issuer knows that the token is of no use any more."""
        body = {"token": refresh_token, "token_type_hint": "refresh_token", "client_id": self.client_id}
        try:
            response = await self._ask(self._revoke_url, REVOKE_TIMEOUT_S, json=body)
        except _TRANSPORT_ERRORS:
            return False
        return response.is_success

    # --- device codes -----------------------------------------------------------------------------------

    @property
    def device_page(self) -> str:
        return f"{self.url}/codex/device"

    @property
    def device_redirect(self) -> str:
        return f"{self.url}/deviceauth/callback"

    async def device_code(self) -> DeviceCode:
        """Raises LoginError: the issuer gives none; DeviceCodesDisabledError: it knows none at all."""
        url = f"{self.url}/api/accounts/deviceauth/usercode"
        response = await self._post(url, "failed to request device code", json={"client_id": self.client_id})
        if response.status_code == httpx.codes.NOT_FOUND:
            raise DeviceCodesDisabledError(
                "device code login is not enabled for this Codex server. "
                "Use the browser login or verify the server URL."
            )
        if not response.is_success:
            raise LoginError(
                f"failed to request device code: device code request failed with status {_status(response)}"
            )
        code = _decoded(response, DeviceCode)
        try:
            if code is not None and code.pause_s >= 0:
                return code
        except ValueError:
            pass
        raise LoginError("failed to request device code: the issuer's answer is not understood")

    async def device_grant(self, code: DeviceCode) -> DeviceGrant | None:
        """What the person's consent gave; None as long as there is none.

        :raises LoginError: it was refused, or the code has expired.
        """
        url = f"{self.url}/api/accounts/deviceauth/token"
        body = {"device_auth_id": code.device_auth_id, "user_code": code.user_code}
        try:
            response = await self._ask(url, json=body)
        except _TRANSPORT_ERRORS:
            return None  # the next question may be answered
        if response.status_code in (httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND) or response.is_server_error:
            return None
        if not response.is_success:
            raise LoginError(f"device auth failed with status {_status(response)}")
        grant = _decoded(response, DeviceGrant)
        if grant is None:
            raise LoginError("error decoding response body")
        return grant

    async def _post(self, url: str, what: str, **body: Any) -> httpx.Response:
        try:
            return await self._ask(url, **body)
        except httpx.RequestError:
            raise LoginError(f"{what}: error sending request for url ({url})") from None
        except (httpx.InvalidURL, NetworkSettingError) as error:
            raise LoginError(f"{what}: {_reason(error)}") from None

    async def _ask(self, url: str, timeout_s: float = TIMEOUT_S, **body: Any) -> httpx.Response:
        """The answer to a POST. What httpx calls a timeout is one for each step: a name, a connection, each read."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._client.post(url, timeout=timeout_s, **body)
        except TimeoutError:
            raise httpx.ReadTimeout(f"no answer within {timeout_s:g} s") from None


def _decoded(response: httpx.Response, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _refuses(response: httpx.Response) -> bool:
    """Whether the issuer will never take the token: any 401, and the 400 that says so."""
    if response.status_code == httpx.codes.BAD_REQUEST:
        code = _error_code(response)
        return code == "invalid_grant" or code in _PERMANENT
    return response.status_code == httpx.codes.UNAUTHORIZED


def _error_code(response: httpx.Response) -> str | None:
    error = (_decoded(response, dict[str, Any]) or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else error
    return code if isinstance(code, str) else None


def _complaint(response: httpx.Response) -> str:
    """How an issuer describes an error, if it does; never the whole answer, which may repeat what was sent."""
    told = _decoded(response, dict[str, Any]) or {}
    error = told.get("error")
    text = told.get("error_description") or (error.get("message") if isinstance(error, dict) else None)
    return text[:COMPLAINT_CHARACTERS] if isinstance(text, str) else ""


def _status(response: httpx.Response) -> str:
    return f"{response.status_code} {httpx.codes.get_reason_phrase(response.status_code)}".rstrip()


def _reason(error: Exception) -> str:
    """Without the request, which holds tokens."""
    return str(error) or type(error).__name__
