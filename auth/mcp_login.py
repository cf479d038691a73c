"""A login to an MCP server: a person agrees in a browser, which comes back to a port of ours."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import httpx

from auth.callback import CallbackServer
from auth.errors import LoginError, RefreshError
from auth.issuer import Pkce
from auth.mcp_oauth import Authorizer, discover
from auth.mcp_tokens import McpToken

__all__ = ["McpLogin", "renewed"]


class McpLogin:
    """`open` it, show `url`, await `token`, `close` it. `client` is used, not owned."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        name: str,
        server_url: str,
        *,
        client_id: str | None,
        scopes: tuple[str, ...] | None,
        resource: str | None,
    ) -> None:
        self._client = client
        self._name = name
        self._server_url = server_url
        self._client_id = client_id
        self._scopes = scopes
        self._resource = resource
        self._pkce = Pkce.new()
        state = secrets.token_urlsafe(32)
        self._state = state
        self._server = CallbackServer(state, self._finish)
        self._outcome: asyncio.Future[McpToken] = asyncio.get_running_loop().create_future()
        self._authorizer: Authorizer | None = None
        self._known: McpToken | None = None
        self._redirect_uri = ""
        self.url = ""

    async def open(self, port: int | None) -> None:
        """`port`: where the browser comes back to; None: any.

        :raises LoginError: there is nobody to log in to, or no port can be had.
        """
        authorizer = self._authorizer = await discover(self._client, self._server_url, self._resource)
        await self._server.start((port or 0,))
        self._redirect_uri = f"http://127.0.0.1:{self._server.port}/auth/callback"
        client_id = self._client_id or await authorizer.register(self._client, self._redirect_uri)
        scopes = authorizer.scopes if self._scopes is None else self._scopes
        self._known = McpToken(
            server_name=self._name,
            server_url=self._server_url,
            client_id=client_id,
            access_token="",
            scopes=scopes,
        )
        self.url = authorizer.authorize_url(
            client_id=client_id,
            redirect_uri=self._redirect_uri,
            pkce=self._pkce,
            state=self._state,
            scopes=scopes,
        )

    async def token(self, timeout_s: float) -> McpToken:
        """:raises LoginError: it was refused, or nobody came in time."""
        done, _ = await asyncio.wait((self._outcome,), timeout=timeout_s)
        if not done:
            raise LoginError("timed out waiting for the browser to come back")
        return self._outcome.result()

    async def close(self) -> None:
        await self._server.close()
        if not self._outcome.done():
            self._outcome.cancel()

    async def _finish(self, query: dict[str, str]) -> None:
        if self._outcome.done():
            return
        try:
            token = await self._redeem(query)
        except LoginError as error:
            if not self._outcome.done():
                self._outcome.set_exception(error)
            raise
        if not self._outcome.done():
            self._outcome.set_result(token)

    async def _redeem(self, query: dict[str, str]) -> McpToken:
        code = query.get("code")
        if not code:
            raise LoginError(query.get("error_description") or query.get("error") or "there is no code")
        assert self._authorizer is not None
        assert self._known is not None
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": self._pkce.verifier,
        }
        try:
            return await self._authorizer.exchange(self._client, form, self._known)
        except RefreshError as error:
            raise LoginError(str(error)) from None


async def renewed(client: httpx.AsyncClient, token: McpToken, resource: str | None) -> McpToken:
    """A token in the place of one that is over.

    :raises LoginError, RefreshError: there is none.
    """
    if token.refresh_token is None:
        raise RefreshError("the login is over")
    authorizer: Any = await discover(client, token.server_url, resource)
    form = {"grant_type": "refresh_token", "refresh_token": token.refresh_token}
    renewed_token: McpToken = await authorizer.exchange(client, form, token)
    return renewed_token
