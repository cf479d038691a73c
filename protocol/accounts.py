"""Accounts: `account/*` and the older `getAuthStatus`."""

from __future__ import annotations

from typing import Literal

from protocol.base import OptionalParams, Params, Wire

__all__ = [
    "Account",
    "AccountUpdated",
    "ApiKeyAccount",
    "AuthStatusParams",
    "AuthStatusResponse",
    "CancelLoginParams",
    "CancelLoginResponse",
    "ChatgptAccount",
    "Credits",
    "DailyTokens",
    "LoginCompleted",
    "LoginParams",
    "LoginResponse",
    "LogoutParams",
    "LogoutResponse",
    "RateLimitsParams",
    "RateLimitsResponse",
    "ReadAccountParams",
    "ReadAccountResponse",
    "ResetCredit",
    "ResetCredits",
    "Snapshot",
    "SpendLimit",
    "TokenRefreshParams",
    "TokenRefreshResponse",
    "UsageParams",
    "UsageResponse",
    "UsageSummary",
    "Window",
    "WorkspaceRouting",
]

AuthMode = Literal["apikey", "chatgpt", "chatgptAuthTokens"]


# --- who ------------------------------------------------------------------------------------------------


class ReadAccountParams(Params):
    """`refresh_token`: get new tokens first."""

    refresh_token: bool = False


class ApiKeyAccount(Wire, tag="apiKey", tag_field="type"):
    pass


class ChatgptAccount(Wire, tag="chatgpt", tag_field="type"):
    email: str | None
    plan_type: str
    workspace_name: str | None = None


Account = ApiKeyAccount | ChatgptAccount


class WorkspaceRouting(Wire):
    chatgpt_account_id: str
    backend_origin: str
    account_routing_override: str


class ReadAccountResponse(Wire, kw_only=True):
    account: Account | None = None
    user_id: str | None = None
    requires_openai_auth: bool
    workspace_routing: WorkspaceRouting | None = None


class AuthStatusParams(Params):
    include_token: bool | None = None
    refresh_token: bool | None = None


class AuthStatusResponse(Wire, kw_only=True):
    auth_method: AuthMode | None = None
    auth_token: str | None = None
    requires_openai_auth: bool

    def __repr__(self) -> str:
        return f"AuthStatusResponse({self.auth_method!r})"


class AccountUpdated(Wire):
    auth_mode: AuthMode | None = None
    plan_type: str | None = None


# --- logins ---------------------------------------------------------------------------------------------


class LoginParams(Params, kw_only=True):
    """All kinds in one, since each names fields of its own: which of them are missing is told by the handler."""

    type: Literal[
        "apiKey",
        "chatgpt",
        "chatgptDeviceCode",
        "chatgptAuthTokens",
        "amazonBedrock",
        "amazonBedrockAccessKeys",
    ]
    api_key: str | None = None
    access_token: str | None = None
    chatgpt_account_id: str | None = None
    chatgpt_plan_type: str | None = None

    def __repr__(self) -> str:
        return f"LoginParams({self.type!r})"


class LoginResponse(Wire, kw_only=True, omit_defaults=True):
    """`type` says which of the other fields there are."""

    type: str
    login_id: str | None = None
    auth_url: str | None = None
    verification_url: str | None = None
    user_code: str | None = None


class LoginCompleted(Wire, kw_only=True):
    login_id: str | None = None
    success: bool
    error: str | None = None
    onboarding_entrypoint: None = None


class CancelLoginParams(Params):
    login_id: str


class CancelLoginResponse(Wire):
    status: Literal["canceled", "notFound"]


class LogoutParams(OptionalParams):
    pass


class LogoutResponse(Wire):
    pass


class TokenRefreshParams(Wire):
    """What the server asks of a client that supplies the tokens."""

    reason: Literal["unauthorized"] = "unauthorized"
    previous_account_id: str | None = None


class TokenRefreshResponse(Params, kw_only=True):
    access_token: str
    chatgpt_account_id: str
    chatgpt_plan_type: str | None = None

    def __repr__(self) -> str:
        return f"TokenRefreshResponse({self.chatgpt_account_id!r})"


# --- limits and usage -----------------------------------------------------------------------------------


class RateLimitsParams(OptionalParams):
    exclude_reset_credit_details: bool = False


class Window(Wire, kw_only=True):
    """`resets_at` in unix seconds."""

    used_percent: int
    window_duration_mins: int | None = None
    resets_at: int | None = None


class Credits(Wire, kw_only=True):
    has_credits: bool
    unlimited: bool
    balance: str | None = None


class SpendLimit(Wire):
    limit: str
    used: str
    remaining_percent: int
    resets_at: int


class Snapshot(Wire, kw_only=True):
    limit_id: str | None = None
    limit_name: str | None = None
    normal_model_slug: str | None = None
    primary: Window | None = None
    secondary: Window | None = None
    credits: Credits | None = None
    individual_limit: SpendLimit | None = None
    spend_control_reached: bool | None = None
    plan_type: str | None = None
    rate_limit_reached_type: str | None = None


class ResetCredit(Wire, kw_only=True):
    """Times in unix seconds."""

    id: str
    reset_type: str
    status: str
    granted_at: int
    expires_at: int | None = None
    title: str | None = None
    description: str | None = None


class ResetCredits(Wire):
    available_count: int
    credits: list[ResetCredit] | None = None


class RateLimitsResponse(Wire, kw_only=True):
    ordinary_usage_allowed: bool | None = None
    rate_limits: Snapshot
    rate_limits_by_limit_id: dict[str, Snapshot]
    rate_limit_reset_credits: ResetCredits | None = None
    account_id: str | None = None
    rate_limit_upsell: None = None


class UsageParams(OptionalParams):
    pass


class UsageSummary(Wire):
    lifetime_tokens: int | None = None
    peak_daily_tokens: int | None = None
    longest_running_turn_sec: int | None = None
    current_streak_days: int | None = None
    longest_streak_days: int | None = None


class DailyTokens(Wire):
    start_date: str
    tokens: int


class UsageResponse(Wire):
    summary: UsageSummary
    daily_usage_buckets: list[DailyTokens] | None = None
    thread_usage: None = None
