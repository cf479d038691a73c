"""`account/*` and `getAuthStatus`, but for limits and usage."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from auth.account import Account, account_of
from auth.errors import BackendError, DeviceCodesDisabledError, LoginError, StorageError
from auth.record import AuthRecord
from protocol.accounts import (
    ApiKeyAccount,
    AuthStatusParams,
    AuthStatusResponse,
    CancelLoginParams,
    CancelLoginResponse,
    ChatgptAccount,
    LoginCompleted,
    LoginParams,
    LoginResponse,
    LogoutParams,
    LogoutResponse,
    ReadAccountParams,
    ReadAccountResponse,
    WorkspaceRouting,
)
from protocol.rpc import INTERNAL_ERROR, RpcError
from supervisor.accounts import LoginRefusedError
from supervisor.afterwards import after
from supervisor.connection import Connection

if TYPE_CHECKING:
    from supervisor.front import Front


async def read(front: Front, connection: Connection, params: ReadAccountParams) -> ReadAccountResponse:
    accounts = front.accounts
    if not accounts.requires_openai_auth:
        return ReadAccountResponse(requires_openai_auth=False)
    found = await accounts.account(renew=params.refresh_token)
    if found is None:
        return ReadAccountResponse(requires_openai_auth=True)
    record, account = found
    if account.mode == "apikey":
        return ReadAccountResponse(account=ApiKeyAccount(), requires_openai_auth=True)
    try:
        route = await accounts.route(record)
    except BackendError as error:
        raise RpcError(str(error), INTERNAL_ERROR) from None
    after(lambda: accounts.updated(account))
    return ReadAccountResponse(
        account=ChatgptAccount(email=account.email, plan_type=account.plan or "unknown"),
        user_id=account.user_id,
        requires_openai_auth=True,
        workspace_routing=WorkspaceRouting(
            chatgpt_account_id=route.id,
            backend_origin=route.workspace_backend_origin,
            account_routing_override=route.account_routing_override,
        ),
    )


async def status(front: Front, connection: Connection, params: AuthStatusParams) -> AuthStatusResponse:
    accounts = front.accounts
    if not accounts.requires_openai_auth:
        return AuthStatusResponse(requires_openai_auth=False)
    found = await accounts.account(renew=bool(params.refresh_token))
    if found is None:
        return AuthStatusResponse(requires_openai_auth=True)
    record, account = found
    if not _bearer(record):
        return AuthStatusResponse(requires_openai_auth=True)  # an empty key is a login, but of no use
    return AuthStatusResponse(
        auth_method=account.mode,
        auth_token=_bearer(record) if params.include_token else None,
        requires_openai_auth=True,
    )


def _bearer(record: AuthRecord) -> str | None:
    account = account_of(record)
    if account is None or account.mode == "apikey":
        return record.api_key
    return record.tokens.access_token if record.tokens else None


async def login(front: Front, connection: Connection, params: LoginParams) -> LoginResponse:
    try:
        return await _login(front, connection, params)
    except (LoginRefusedError, DeviceCodesDisabledError) as error:
        raise RpcError(str(error)) from None
    except LoginError as error:
        told = "failed to set external auth: " if params.type == "chatgptAuthTokens" else ""
        told = "failed to start login server: " if params.type == "chatgpt" else told
        raise RpcError(f"{told}{error}", INTERNAL_ERROR) from None
    except StorageError as error:
        what = "failed to save api key" if params.type == "apiKey" else "failed to save the login"
        raise RpcError(f"{what}: {error}", INTERNAL_ERROR) from None


async def _login(front: Front, connection: Connection, params: LoginParams) -> LoginResponse:
    accounts, logins = front.accounts, front.logins
    client = connection.client
    assert client is not None
    match params.type:
        case "apiKey":
            key = _required(params.api_key, "apiKey")
            accounts.check(params.type)
            await logins.end()
            account = await accounts.log_in_key(key)
            after(lambda: _completed(front, account))
            return LoginResponse(type="apiKey")
        case "chatgpt":
            accounts.check(params.type)
            login_id, browser = await logins.begin_browser(client.client_info.name)
            return LoginResponse(type="chatgpt", login_id=login_id, auth_url=browser.url)
        case "chatgptDeviceCode":
            accounts.check(params.type)
            login_id, device = await logins.begin_device()
            return LoginResponse(
                type="chatgptDeviceCode",
                login_id=login_id,
                verification_url=device.page,
                user_code=device.code,
            )
        case "chatgptAuthTokens":
            token = _required(params.access_token, "accessToken")
            account_id = _required(params.chatgpt_account_id, "chatgptAccountId")
            if not connection.experimental:
                raise RpcError("account/login/start.chatgptAuthTokens requires experimentalApi capability")
            accounts.check(params.type)
            await logins.end()
            account = accounts.log_in_external(connection, token, account_id, params.chatgpt_plan_type)
            after(lambda: _completed(front, account))
            return LoginResponse(type="chatgptAuthTokens")
        case kind:
            raise RpcError(f"`{kind}` logins are not supported: configure a provider with `env_key` instead")


def _required(value: str | None, name: str) -> str:
    if value is None:
        raise RpcError(f"Invalid request: missing field `{name}`")
    return value


def _completed(front: Front, account: Account | None) -> None:
    front.tell_all("account/login/completed", LoginCompleted(success=True))
    front.accounts.updated(account, again=True)


def cancel(
    front: Front, connection: Connection, params: CancelLoginParams
) -> CancelLoginResponse | Awaitable[CancelLoginResponse]:
    try:
        login_id = str(uuid.UUID(params.login_id))
    except ValueError:
        raise RpcError(f"invalid login id: {params.login_id}") from None
    return CancelLoginResponse(status="canceled" if front.logins.cancel(login_id) else "notFound")


async def logout(front: Front, connection: Connection, params: LogoutParams) -> LogoutResponse:
    await front.logins.end()
    try:
        await front.accounts.log_out()
    except StorageError as error:
        raise RpcError(f"logout failed: {error}", INTERNAL_ERROR) from None
    after(lambda: front.accounts.updated(None, again=True))
    return LogoutResponse()
