"""`account/rateLimits/read` and `account/usage/read`: from the account's backend to the wire."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from auth.account import account_of
from auth.errors import BackendError, StorageError, UnsupportedAuthModeError
from auth.plans import plan_type
from auth.record import AuthRecord
from protocol.accounts import (
    Credits,
    DailyTokens,
    RateLimitsParams,
    RateLimitsResponse,
    ResetCredit,
    ResetCredits,
    Snapshot,
    SpendLimit,
    UsageParams,
    UsageResponse,
    UsageSummary,
    Window,
)
from protocol.rpc import INTERNAL_ERROR, RpcError
from supervisor.afterwards import after
from supervisor.connection import Connection

if TYPE_CHECKING:
    from auth import backend_types as types
    from supervisor.front import Front

log = logging.getLogger("bulkhead.accounts")

MAIN_LIMIT = "codex"
_SECONDS_A_MINUTE = 60
T = TypeVar("T")


async def read(front: Front, connection: Connection, params: RateLimitsParams) -> RateLimitsResponse:
    record = await _login(front, "rate limits")
    try:
        usage, credits_ = await asyncio.gather(
            front.accounts.ask(record, lambda backend, login: backend.usage(login)),
            _reset_credits(front, record),
        )
    except BackendError as error:
        raise RpcError(f"failed to fetch codex rate limits: {error}", INTERNAL_ERROR) from None
    account = account_of(record)
    after(lambda: front.accounts.updated(account))
    return _limits(usage, credits_, account.account_id if account else None)


async def usage(front: Front, connection: Connection, params: UsageParams) -> UsageResponse:
    record = await _login(front, "token usage")
    try:
        profile = await front.accounts.ask(record, lambda backend, login: backend.profile(login))
    except BackendError as error:
        raise RpcError(f"failed to fetch token usage profile: {error}", INTERNAL_ERROR) from None
    stats = profile.stats
    days = stats.daily_usage_buckets
    return UsageResponse(
        summary=UsageSummary(
            lifetime_tokens=given(stats.lifetime_tokens),
            peak_daily_tokens=given(stats.peak_daily_tokens),
            longest_running_turn_sec=given(stats.longest_running_turn_sec),
            current_streak_days=given(stats.current_streak_days),
            longest_streak_days=given(stats.longest_streak_days),
        ),
        daily_usage_buckets=[DailyTokens(start_date=day.start_date, tokens=day.tokens) for day in days]
        if days
        else None,
    )


def given(value: T | msgspec.UnsetType | None) -> T | None:
    """None for what the backend left out, which the generated types mark."""
    return None if isinstance(value, msgspec.UnsetType) else value


async def _login(front: Front, what: str) -> AuthRecord:
    """A ChatGPT login with what tokens it has; the backend is the one to say that they are too old."""
    try:
        record = await front.accounts.record()
        account = account_of(record)
    except (StorageError, UnsupportedAuthModeError) as error:
        log.warning("there is no usable login: %s", error)
        record = account = None  # as for `account/read`, and as the peer sees it
    if record is None or account is None:
        raise RpcError(f"codex account authentication required to read {what}")
    if account.mode == "apikey":
        raise RpcError(f"chatgpt authentication required to read {what}")
    return record


async def _reset_credits(front: Front, record: AuthRecord) -> types.ResetCredits | None:
    """An extra: limits are told without it too."""
    try:
        return await (await front.accounts.backend()).reset_credits(record)
    except BackendError:
        return None


# --- the mapping ------------------------------------------------------------------------------------------


def _limits(
    usage: types.Usage, credits_: types.ResetCredits | None, account_id: str | None
) -> RateLimitsResponse:
    plan = plan_type(usage.plan_type or None)
    spend, reached = usage.spend_control or None, usage.rate_limit_reached_type or None
    main = Snapshot(
        limit_id=MAIN_LIMIT,
        primary=_window(usage.rate_limit, "primary_window"),
        secondary=_window(usage.rate_limit, "secondary_window"),
        credits=_credits(usage.credits),
        individual_limit=_spend_limit(spend.individual_limit) if spend else None,
        spend_control_reached=given(spend.reached) if spend else None,
        plan_type=plan,
        rate_limit_reached_type=(reached.type or None) if reached else None,
    )
    others = {
        more.metered_feature: Snapshot(
            limit_id=more.metered_feature,
            limit_name=more.limit_name or None,
            primary=_window(more.rate_limit, "primary_window"),
            secondary=_window(more.rate_limit, "secondary_window"),
            plan_type=plan,
        )
        for more in usage.additional_rate_limits or ()
    }
    told_account = usage.account_id or None
    return RateLimitsResponse(
        # of another account it says nothing about this one
        ordinary_usage_allowed=given(usage.ordinary_usage_allowed) if told_account == account_id else None,
        rate_limits=main,
        rate_limits_by_limit_id={MAIN_LIMIT: main, **others},
        rate_limit_reset_credits=_reset(credits_) if credits_ else None,
        account_id=told_account,
    )


def _window(limit: object, name: str) -> Window | None:
    window: types.Window | None = getattr(limit, name, None) or None
    if window is None:
        return None
    seconds = given(window.limit_window_seconds)
    return Window(
        used_percent=math.floor(window.used_percent + 0.5),
        window_duration_mins=math.ceil(seconds / _SECONDS_A_MINUTE) if isinstance(seconds, int) else None,
        resets_at=window.reset_at if isinstance(window.reset_at, int) else None,
    )


def _credits(told: object) -> Credits | None:
    if not told:
        return None
    found = cast("types.Credits", told)
    return Credits(has_credits=found.has_credits, unlimited=found.unlimited, balance=found.balance or None)


def _spend_limit(told: object) -> SpendLimit | None:
    if not told:
        return None
    found = cast("types.SpendLimit", told)
    return SpendLimit(
        limit=found.limit,
        used=found.used,
        remaining_percent=math.floor(found.remaining_percent + 0.5),
        resets_at=found.reset_at,
    )


_RESET_TYPES = {"codex_rate_limits": "codexRateLimits"}
_RESET_STATUSES = ("available", "redeeming", "redeemed")


def _reset(found: types.ResetCredits) -> ResetCredits:
    rows = found.credits
    return ResetCredits(
        available_count=found.available_count,
        credits=[_reset_credit(row) for row in rows] if isinstance(rows, list) else None,
    )


def _reset_credit(row: types.ResetCredit) -> ResetCredit:
    return ResetCredit(
        id=row.id,
        reset_type=_RESET_TYPES.get(row.reset_type or "", "unknown"),
        status=row.status if row.status and row.status in _RESET_STATUSES else "unknown",
        granted_at=_unix(row.granted_at) or 0,
        expires_at=_unix(row.expires_at) if row.expires_at else None,
        title=row.title or None,
        description=row.description or None,
    )


def _unix(text: str) -> int | None:
    try:
        return int(dt.datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None
