"""The two ways to a ChatGPT login: a browser on this machine, and a code that is typed in on any other.

Each begins with what a person has to see (an address, a code) and ends with a record, or a LoginError whose text
clients are shown. Nothing is stored here.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from auth.account import token_record
from auth.callback import CALLBACK_PORTS, CallbackServer
from auth.claims import claims_of
from auth.errors import LoginError
from auth.issuer import DeviceCode, Issuer, Pkce, TokenReply
from auth.record import AuthRecord

__all__ = ["DEFAULT_TIMEOUT_S", "BrowserLogin", "DeviceLogin"]

DEFAULT_TIMEOUT_S = 600.0
"""Codex gives a browser as much."""
DEVICE_TIMEOUT_S = 900.0
"""How long the issuer's codes are good for."""
LINGER_S = 5.0
"""A browser follows its redirection to the last page within this."""
SHORTEST_POLL_S = 0.05


def check_workspace(account_id: str | None, allowed: tuple[str, ...]) -> None:
    """:raises LoginError: the account is none of the allowed workspaces; an empty `allowed` is no restriction."""
    if allowed and account_id not in allowed:
        raise LoginError(f"Login is restricted to workspace id(s) {', '.join(allowed)}.")


class BrowserLogin:
    """`open` it, show `url`, await `record`, `close` it."""

    def __init__(self, issuer: Issuer, originator: str, workspaces: tuple[str, ...] = ()) -> None:
        self._issuer = issuer
        self._originator = originator
        self._workspaces = workspaces
        self._pkce = Pkce.new()
        self._state = secrets.token_urlsafe(32)
        self._server = CallbackServer(self._state, self._finish)
        self._outcome: asyncio.Future[AuthRecord] = asyncio.get_running_loop().create_future()
        self._redirect_uri = ""
        self.url = ""

    async def open(self, ports: tuple[int, ...] = CALLBACK_PORTS) -> None:
        """:raises LoginError: no port can be had."""
        await self._server.start(ports)
        self._redirect_uri = f"http://127.0.0.1:{self._server.port}/auth/callback"
        self.url = self._issuer.authorize_url(
            redirect_uri=self._redirect_uri,
            pkce=self._pkce,
            state=self._state,
            originator=self._originator,
            workspaces=self._workspaces,
        )

    async def record(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> AuthRecord:
        """:raises LoginError: it was refused, cancelled, or nobody came in time."""
        cancelled = asyncio.ensure_future(self._server.cancelled.wait())
        outcomes: set[asyncio.Future[Any]] = {self._outcome, cancelled}
        try:
            done, _ = await asyncio.wait(outcomes, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if self._outcome in done:
                return self._outcome.result()
            raise LoginError("Login server error: Login cancelled" if done else "Login timed out")
        finally:
            cancelled.cancel()

    async def close(self, *, linger: bool = False) -> None:
        """`linger`: let the browser have its last page first."""
        if linger:
            await asyncio.sleep(LINGER_S)
        if not self._outcome.done():
            self._outcome.cancel()
        await self._server.close()

    async def _finish(self, query: dict[str, str]) -> None:
        if self._outcome.done():
            raise LoginError("This login is over already.")
        work = asyncio.ensure_future(self._record_for(query))
        # Whoever cancels the login meanwhile has its last word, which the browser shows.
        await asyncio.wait({work, self._outcome}, return_when=asyncio.FIRST_COMPLETED)
        if self._outcome.done():
            work.cancel()
            raise LoginError("This login was cancelled.")
        try:
            record = work.result()
        except LoginError as error:
            self._outcome.set_exception(LoginError(f"Login server error: {error}"))
            raise
        self._outcome.set_result(record)

    async def _record_for(self, query: dict[str, str]) -> AuthRecord:
        if "error" in query:
            raise LoginError(f"Sign-in failed: {query.get('error_description') or query['error']}")
        if not query.get("code"):
            raise LoginError("Missing authorization code. Sign-in could not be completed.")
        reply = await self._issuer.exchange(
            query["code"], redirect_uri=self._redirect_uri, verifier=self._pkce.verifier
        )
        return await _record(self._issuer, reply, self._workspaces)


class DeviceLogin:
    """`open` it, show `page` and `code`, await `record`."""

    def __init__(self, issuer: Issuer, workspaces: tuple[str, ...] = ()) -> None:
        self._issuer = issuer
        self._workspaces = workspaces
        self._code: DeviceCode | None = None

    @property
    def page(self) -> str:
        return self._issuer.device_page

    @property
    def code(self) -> str:
        assert self._code is not None
        return self._code.user_code

    async def open(self) -> None:
        """:raises LoginError: the issuer gives no code."""
        self._code = await self._issuer.device_code()

    async def record(self, timeout_s: float = DEVICE_TIMEOUT_S) -> AuthRecord:
        """:raises LoginError: it was refused, or nobody typed the code in in time."""
        assert self._code is not None
        pause = max(self._code.pause_s, SHORTEST_POLL_S)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    grant = await self._issuer.device_grant(self._code)
                    if grant is not None:
                        break
                    await asyncio.sleep(pause)
        except TimeoutError:
            raise LoginError(f"device auth timed out after {_spelled(timeout_s)}") from None
        reply = await self._issuer.exchange(
            grant.authorization_code, redirect_uri=self._issuer.device_redirect, verifier=grant.code_verifier
        )
        return await _record(self._issuer, reply, self._workspaces)


async def _record(issuer: Issuer, reply: TokenReply, workspaces: tuple[str, ...]) -> AuthRecord:
    id_token = reply.id_token or ""
    check_workspace(claims_of(id_token).account_id, workspaces)
    return token_record(reply, await issuer.api_key(id_token), issuer.provenance)


def _spelled(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"
