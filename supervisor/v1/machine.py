"""The other old methods: logins, the user's settings, a command. All by requests of today's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocol.v1 import conversations as c
from supervisor.connection import Connection
from supervisor.user_agent import user_agent
from supervisor.v1.conversations import policy

if TYPE_CHECKING:
    from supervisor.front import Front

_SAVED = {
    "approvalPolicy": "approval_policy",
    "sandboxMode": "sandbox_mode",
    "forcedChatgptWorkspaceId": "forced_chatgpt_workspace_id",
    "forcedLoginMethod": "forced_login_method",
    "model": "model",
    "modelReasoningEffort": "model_reasoning_effort",
    "modelReasoningSummary": "model_reasoning_summary",
    "modelVerbosity": "model_verbosity",
    "profile": "profile",
}
"""What old clients knew of `config.toml`: their name -> its key."""


async def login_api_key(front: Front, connection: Connection, params: c.LoginApiKeyParams) -> c.Empty:
    asked = {"type": "apiKey", "apiKey": params.api_key}
    await front.adapter(connection).call("account/login/start", asked)
    return c.Empty()


async def login_chatgpt(front: Front, connection: Connection, params: c.NoParams) -> c.LoginChatGptResponse:
    begun = await front.adapter(connection).call("account/login/start", {"type": "chatgpt"})
    return c.LoginChatGptResponse(login_id=begun["loginId"], auth_url=begun["authUrl"])


async def cancel_login(front: Front, connection: Connection, params: c.CancelLoginChatGptParams) -> c.Empty:
    await front.adapter(connection).call("account/login/cancel", {"loginId": params.login_id})
    return c.Empty()


async def logout(front: Front, connection: Connection, params: c.NoParams) -> c.Empty:
    await front.adapter(connection).call("account/logout", {})
    return c.Empty()


async def agent(front: Front, connection: Connection, params: c.NoParams) -> c.GetUserAgentResponse:
    assert connection.client is not None
    info = connection.client.client_info
    return c.GetUserAgentResponse(user_agent=user_agent(info.name, info.version))


async def user_info(front: Front, connection: Connection, params: c.NoParams) -> c.UserInfoResponse:
    read = await front.adapter(connection).call("account/read", {})
    return c.UserInfoResponse(alleged_user_email=(read["account"] or {}).get("email"))


async def saved_config(
    front: Front, connection: Connection, params: c.NoParams
) -> c.GetUserSavedConfigResponse:
    read: dict[str, Any] = await front.adapter(connection).call("config/read", {})
    found = read["config"]
    config = {old: found.get(key) for old, key in _SAVED.items()}
    return c.GetUserSavedConfigResponse(
        config={**config, "sandboxSettings": None, "tools": None, "profiles": {}}
    )


async def set_default_model(front: Front, connection: Connection, params: c.SetDefaultModelParams) -> c.Empty:
    edits = [
        {"keyPath": key, "value": value, "mergeStrategy": "replace"}
        for key, value in (("model", params.model), ("model_reasoning_effort", params.reasoning_effort))
    ]
    await front.adapter(connection).call("config/batchWrite", {"edits": edits})
    return c.Empty()


async def execute(
    front: Front, connection: Connection, params: c.ExecOneOffCommandParams
) -> c.ExecOneOffCommandResponse:
    asked: dict[str, Any] = {"command": params.command, "timeoutMs": params.timeout_ms, "cwd": params.cwd}
    if params.sandbox_policy is not None:
        asked["sandboxPolicy"] = policy(params.sandbox_policy)
    ended = await front.adapter(connection).call("command/exec", asked)
    return c.ExecOneOffCommandResponse(
        exit_code=ended["exitCode"], stdout=ended["stdout"], stderr=ended["stderr"]
    )
