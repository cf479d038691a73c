"""OAuth for MCP servers: where a server's authorization server is, and what it is asked.

The MCP specification puts it together of RFC 9728 (who protects the server), RFC 8414 (where its endpoints are), RFC 7591
(a client id for the asking), RFC 8707 (which server a token is for) and PKCE.
"""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import msgspec

from auth.errors import LoginError, RefreshError, RefreshRefusedError
from auth.issuer import Pkce
from auth.mcp_tokens import McpToken
from network.transport import is_loopback

__all__ = ["Authorizer", "discover"]

CLIENT_NAME = "Bulkhead"
"""What a person sees on the page that asks for consent."""
TIMEOUT_S = 20.0
METADATA_BYTES = 1 << 20
_RESOURCE_METADATA = re.compile(r'resource_metadata="([^"]*)"')


class _Resource(msgspec.Struct):
    resource: str = ""
    authorization_servers: list[str] = []
    scopes_supported: list[str] = []


class Authorizer(msgspec.Struct, kw_only=True):
    """An authorization server, as it describes itself."""

    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None = None
    scopes: tuple[str, ...] = ()
    """What the MCP server says its clients need."""
    resource: str = ""

    async def register(self, client: httpx.AsyncClient, redirect_uri: str) -> str:
        """A client id for this login.

        :raises LoginError: it gives none.
        """
        if self.registration_endpoint is None:
            raise LoginError("Registration failed: the server registers no clients; set `oauth.client_id`")
        wanted = {
            "client_name": CLIENT_NAME,
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }
        try:
            answer = await client.post(self.registration_endpoint, json=wanted, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            raise LoginError(f"Registration failed: {_reason(error)}") from None
        client_id = _member(answer, "client_id") if answer.is_success else None
        if not client_id:
            raise LoginError(f"Registration failed: HTTP {answer.status_code}")
        return client_id

    def authorize_url(
        self, *, client_id: str, redirect_uri: str, pkce: Pkce, state: str, scopes: tuple[str, ...]
    ) -> str:
        """The page on which a person agrees."""
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "code_challenge": pkce.challenge,
            "code_challenge_method": "S256",
            "state": state,
            "resource": self.resource,
        }
        if scopes:
            query["scope"] = " ".join(scopes)
        mark = "&" if urlsplit(self.authorization_endpoint).query else "?"
        return f"{self.authorization_endpoint}{mark}{urlencode(query)}"

    async def exchange(self, client: httpx.AsyncClient, form: dict[str, str], known: McpToken) -> McpToken:
        """The token that `form` is worth; what the answer leaves out is as in `known`.

        :raises RefreshRefusedError: none, and a new login is needed.
        :raises RefreshError: none this time.
        """
        try:
            answer = await client.post(
                self.token_endpoint,
                data={**form, "client_id": known.client_id, "resource": self.resource},
                headers={"accept": "application/json"},
                timeout=TIMEOUT_S,
            )
        except httpx.HTTPError as error:
            raise RefreshError(f"no token: {_reason(error)}") from None
        if 400 <= answer.status_code < 500:
            raise RefreshRefusedError(
                f"no token: HTTP {answer.status_code} {_member(answer, 'error') or ''}".strip()
            )
        access = _member(answer, "access_token")
        if not answer.is_success or not access:
            raise RefreshError(f"no token: HTTP {answer.status_code}")
        body = answer.json()
        lifetime = body.get("expires_in")
        numeric = isinstance(lifetime, int | float) and not isinstance(lifetime, bool)
        scope = body.get("scope")
        return msgspec.structs.replace(
            known,
            access_token=access,
            refresh_token=_member(answer, "refresh_token") or known.refresh_token,
            expires_at=int((time.time() + lifetime) * 1000) if numeric else None,
            scopes=tuple(scope.split()) if isinstance(scope, str) else known.scopes,
        )


async def discover(client: httpx.AsyncClient, url: str, resource: str | None) -> Authorizer:
    """Who gives tokens for the MCP server at `url`. `resource`: what they are to be for, if not what the server says.

    :raises LoginError: nobody is known who does.
    """
    parts = urlsplit(url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    told = await _resource_metadata(client, url, origin, path)
    server = told.authorization_servers[0] if told.authorization_servers else origin
    base = urlsplit(server)
    root, tail = f"{base.scheme}://{base.netloc}", base.path.rstrip("/")
    places = dict.fromkeys(
        (
            f"{root}/.well-known/oauth-authorization-server{tail}",
            f"{root}/.well-known/openid-configuration{tail}",
            f"{root}{tail}/.well-known/openid-configuration",
        )
    )
    for place in places:
        body = await _fetch(client, place)
        try:
            found = msgspec.json.decode(body, type=Authorizer) if body is not None else None
        except msgspec.MsgspecError:
            found = None
        if found is not None:
            _check(found)
            found.scopes = tuple(told.scopes_supported)
            found.resource = resource or told.resource or url
            return found
    raise LoginError(f"Metadata error: OAuth metadata discovery failed for {next(iter(places))}")


def _check(found: Authorizer) -> None:
    """Codes and tokens go only where nobody can listen: by https, or not off this machine."""
    for url in (found.authorization_endpoint, found.token_endpoint, found.registration_endpoint):
        parts = urlsplit(url or "https:")
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise LoginError(f"Metadata error: {url} is not reached by https")


async def _resource_metadata(client: httpx.AsyncClient, url: str, origin: str, path: str) -> _Resource:
    places = [
        f"{origin}/.well-known/oauth-protected-resource{path}",
        f"{origin}/.well-known/oauth-protected-resource",
    ]
    try:
        refusal = await client.post(url, json={}, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise LoginError(f"Metadata error: {_reason(error)}") from None
    named = _RESOURCE_METADATA.search(refusal.headers.get("www-authenticate", ""))
    # The server may only name a place of its own: anything else could be another one's pretence.
    if named is not None and named[1].startswith(f"{origin}/"):
        places.insert(0, named[1])
    for place in dict.fromkeys(places):
        body = await _fetch(client, place)
        if body is not None:
            try:
                return msgspec.json.decode(body, type=_Resource)
            except msgspec.MsgspecError:
                continue
    return _Resource()


async def _fetch(client: httpx.AsyncClient, url: str) -> bytes | None:
    try:
        answer = await client.get(url, headers={"accept": "application/json"}, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return answer.content[:METADATA_BYTES] if answer.is_success else None


def _member(answer: httpx.Response, name: str) -> str | None:
    try:
        body: Any = answer.json()
    except ValueError:
        return None
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else None


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
