"""The account of this server: who is logged in, what the configuration allows, what all clients are told of it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from auth.account import Account, account_of, external_record, key_record
from auth.errors import BackendError, LoginError, RefreshError, StorageError, UnsupportedAuthModeError
from auth.keeper import Keeper, fingerprint
from auth.record import AuthRecord
from auth.stores import open_storage
from config.providers import DEFAULT_PROVIDER, find_provider
from protocol.accounts import AccountUpdated, TokenRefreshParams, TokenRefreshResponse
from protocol.base import Wire
from supervisor.configuration import Configuration
from supervisor.user_agent import user_agent
from supervisor.version import VERSION

if TYPE_CHECKING:  # httpx comes with them, which a server without an account never needs
    import httpx

    from auth.backend import Backend
    from auth.backend_types import AccountRoute
    from auth.issuer import Issuer
    from supervisor.connection import Connection

__all__ = ["Accounts", "LoginRefusedError"]

log = logging.getLogger("bulkhead.accounts")

CLIENT_ANSWER_S = 10.0
"""How long a client that supplies tokens has to supply new ones; Codex gives it as much."""
EXTERNAL_ACTIVE = "External auth is active. Use account/login/start (chatgptAuthTokens) to update it or account/logout to clear it."
_UNAUTHORIZED = 401
T = TypeVar("T")
Tell = Callable[[str, Wire], None]


class LoginRefusedError(LoginError):
    """The configuration does not allow this login, or another one is in its way."""


class Accounts:
    """`tell` sends a notification to all clients. Logins that a person has to see to are in `supervisor.logins`."""

    def __init__(self, configuration: Configuration, tell: Tell) -> None:
        self._configuration = configuration
        self._tell = tell
        settings = configuration.settings
        storage = open_storage(
            settings.cli_auth_credentials_store, configuration.home, settings.bulkhead.keyring_timeout_s
        )
        self.keeper = Keeper(storage, configuration.home, self.issuer, self._allows)
        self.keeper.renew_external = self._ask_supplier
        self._supplier: Connection | None = None
        self._http: asyncio.Future[httpx.AsyncClient] | None = None
        self._routes: dict[str, AccountRoute] = {}
        self._told: AccountUpdated | None = None

    # --- who ---------------------------------------------------------------------------------------------

    @property
    def requires_openai_auth(self) -> bool:
        """Whether the configured provider wants this account at all."""
        configuration = self._configuration.refresh()
        name = configuration.settings.model_provider or DEFAULT_PROVIDER
        return find_provider(configuration.document, name).requires_openai_auth

    async def record(self, *, renew: bool = False) -> AuthRecord | None:
        """The login, refreshed if it had to be (or is to be) and could be; as it is where it could not.

        :raises StorageError: it cannot be read.
        """
        try:
            return await (self.keeper.renewed() if renew else self.keeper.fresh())
        except RefreshError as error:
            log.warning("%s", error)
            return await self.keeper.current()

    async def account(self, *, renew: bool = False) -> tuple[AuthRecord, Account] | None:
        """Who is logged in; nobody if the login can never be used again, or is damaged."""
        try:
            record = await self.record(renew=renew)
            account = account_of(record)
        except (StorageError, UnsupportedAuthModeError) as error:
            log.warning("there is no usable login: %s", error)
            return None
        if record is None or account is None or self.keeper.refusal(record) is not None:
            return None
        return record, account

    async def route(self, record: AuthRecord) -> AccountRoute:
        """Where the account's requests go; asked once for each token.

        :raises BackendError: the backend does not say.
        """
        assert record.tokens is not None
        mark = fingerprint(record.tokens.access_token)
        found = self._routes.get(mark)
        if found is None:
            found = await self.ask(record, lambda backend, login: backend.route(login))
            self._routes = {mark: found}
        return found

    async def ask(self, record: AuthRecord, question: Callable[[Backend, AuthRecord], Awaitable[T]]) -> T:
        """Ask the account's backend; after a 401 once more with new tokens.

        :raises BackendError: it does not answer, or not as it should.
        """
        backend = await self.backend()
        try:
            return await question(backend, record)
        except BackendError as error:
            if error.status != _UNAUTHORIZED or record.tokens is None:
                raise
            try:
                renewed = await self.keeper.renewed(fingerprint(record.tokens.access_token))
            except (RefreshError, StorageError):
                renewed = None
            if renewed is None:
                raise
            return await question(backend, renewed)

    def updated(self, account: Account | None, *, again: bool = False) -> None:
        """Tell all clients who is logged in, if it is not what they were told last."""
        told = (
            AccountUpdated()
            if account is None
            else AccountUpdated(auth_mode=account.mode, plan_type=account.plan)
        )
        if again or told != self._told:
            self._told = told
            self._tell("account/updated", told)

    # --- what the configuration allows ------------------------------------------------------------------------

    @property
    def workspaces(self) -> tuple[str, ...]:
        """Those that a login may be of; empty: any."""
        forced = self._configuration.settings.forced_chatgpt_workspace_id
        return (forced,) if isinstance(forced, str) else forced or ()

    def _allows(self, record: AuthRecord) -> bool:
        """Whether a stored login may be used; one that may not is left where it is."""
        forced = self._configuration.settings.forced_login_method
        if forced is None and not self.workspaces:
            return True
        try:
            account = account_of(record)
        except UnsupportedAuthModeError:
            return True  # whoever uses it says so
        if account is None:
            return True
        kind = "api" if account.mode == "apikey" else "chatgpt"
        elsewhere = kind == "chatgpt" and bool(self.workspaces) and account.account_id not in self.workspaces
        return not elsewhere and forced in (None, kind)

    def check(self, kind: str) -> None:
        """:raises LoginRefusedError: no login of that kind (of `account/login/start`) is allowed now."""
        forced = self._configuration.refresh().settings.forced_login_method
        if kind == "apiKey" and forced == "chatgpt":
            raise LoginRefusedError("API key login is disabled. Use ChatGPT login instead.")
        if kind == "chatgptAuthTokens" and forced == "api":
            raise LoginRefusedError("External ChatGPT auth is disabled. Use API key login instead.")
        if kind != "apiKey" and forced == "api":
            raise LoginRefusedError("ChatGPT login is disabled. Use API key login instead.")
        if self.keeper.external and kind != "chatgptAuthTokens":
            raise LoginRefusedError(EXTERNAL_ACTIVE)

    def _check_external(self, account_id: str) -> None:
        if self.workspaces and account_id not in self.workspaces:
            wanted = ", ".join(f'"{name}"' for name in self.workspaces)
            told = f'External auth must use one of workspace(s) [{wanted}], but received "{account_id}".'
            raise LoginRefusedError(told)

    # --- logins at once, and logouts -----------------------------------------------------------------------------

    async def log_in_key(self, key: str) -> Account | None:
        """:raises StorageError: the key cannot be kept."""
        record = key_record(key)
        await self.keeper.log_in(record)
        return account_of(record)

    def log_in_external(
        self, connection: Connection, access_token: str, account_id: str, plan: str | None
    ) -> Account | None:
        """`connection` is asked when the tokens are no longer taken.

        :raises LoginError: the token says nothing about itself, or the account is not allowed.
        """
        self._check_external(account_id)
        record = external_record(access_token, account_id, plan)
        self.keeper.log_in_external(record)
        self._supplier = connection
        return account_of(record)

    async def log_out(self) -> None:
        """:raises StorageError: the login cannot be deleted."""
        await self.keeper.log_out()
        self._supplier = None
        self._routes = {}

    async def _ask_supplier(self, previous: str | None) -> tuple[str, str, str | None]:
        if self._supplier is None:
            raise RefreshError("nobody supplies tokens any more")
        params = TokenRefreshParams(previous_account_id=previous)
        try:
            async with asyncio.timeout(CLIENT_ANSWER_S):
                response = await self._supplier.question("account/chatgptAuthTokens/refresh", params)
        except TimeoutError:
            raise RefreshError("the client did not supply new tokens in time") from None
        except ConnectionError:
            raise RefreshError("the client that supplies the tokens is gone") from None
        if response.result is None:
            raise RefreshError("the client refused to supply new tokens")
        try:
            tokens = msgspec.json.decode(response.result, type=TokenRefreshResponse)
            self._check_external(tokens.chatgpt_account_id)
        except (msgspec.MsgspecError, LoginRefusedError) as error:
            raise RefreshError(f"the client's new tokens are of no use: {error}") from None
        return tokens.access_token, tokens.chatgpt_account_id, tokens.chatgpt_plan_type

    # --- HTTP -----------------------------------------------------------------------------------------------------

    async def backend(self) -> Backend:
        module = await asyncio.to_thread(importlib.import_module, "auth.backend")
        base = self._configuration.settings.chatgpt_base_url
        backend: Backend = module.Backend(await self._client(), base, os.environ)
        return backend

    async def issuer(self) -> Issuer:
        module = await asyncio.to_thread(importlib.import_module, "auth.issuer")
        issuer: Issuer = module.Issuer(await self._client(), os.environ)
        return issuer

    async def _client(self) -> httpx.AsyncClient:
        """Made at the first need, and off the loop: certificates take a while to load."""
        if self._http is None:
            self._http = asyncio.get_running_loop().run_in_executor(None, _make_client)
        return await asyncio.shield(self._http)

    async def close(self) -> None:
        if self._http is not None:
            await (await self._http).aclose()


def _make_client() -> httpx.AsyncClient:
    transport = importlib.import_module("network.transport")
    name = "bulkhead"
    client: httpx.AsyncClient = transport.make_client(user_agent=user_agent(name, VERSION), originator=name)
    return client
