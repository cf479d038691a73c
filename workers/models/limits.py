"""What a provider says about the limits of the account: in headers, and when one is reached."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["NOT_INCLUDED_TEXT", "QUOTA_TEXT", "rate_limits", "usage_limit_text"]

QUOTA_TEXT = "Quota exceeded. Check your plan and billing details."
NOT_INCLUDED_TEXT = "To use Codex with your ChatGPT plan, upgrade to Plus: https://chatgpt.com/explore/plus."

_DEFAULT_LIMIT = "codex"
_LIMIT_HIT = "You’ve hit your usage limit"  # noqa: RUF001  the peer's text
_CREDITS = "https://chatgpt.com/settings/usage to purchase more credits"
_PLUS = f"Upgrade to Pro (https://chatgpt.com/explore/pro), visit {_CREDITS}"
_PRO = f"Visit {_CREDITS}"
_FREE = "Upgrade to Plus to continue using Codex (https://chatgpt.com/explore/plus),"
_TEAM = "To get more access now, send a request to your admin"
_PLAN_ADVICE = {
    "plus": _PLUS,
    "pro": _PRO,
    "prolite": _PRO,
    "free": _FREE,
    "go": _FREE,
    "team": _TEAM,
    "business": _TEAM,
    "self_serve_business_usage_based": _TEAM,
    "enterprise_cbp_usage_based": _TEAM,
}
_REACHED_TEXT = {
    "workspace_owner_credits_depleted": "Your workspace is out of credits. Add credits to continue.",
    "workspace_member_credits_depleted": (
        "Your workspace is out of credits. Ask your workspace owner to refill in order to continue."
    ),
    "workspace_owner_usage_limit_reached": (
        "You hit your spend cap set in your workspace. Increase your spend cap to continue."
    ),
    "workspace_member_usage_limit_reached": (
        "You hit your spend cap set by the owner of your workspace. "
        "Ask an owner to increase your spend cap to continue."
    ),
}
_REACHED_TYPES = {*_REACHED_TEXT, "rate_limit_reached"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def rate_limits(headers: Mapping[str, str]) -> dict[str, Any]:
    """Read the snapshot in the `x-codex-*` headers, in the form of `account/rateLimits/updated`; all null without them.

    `x-codex-active-limit` names another limit than `codex`; the other headers then begin with its name.
    """
    limit_id = headers.get("x-codex-active-limit") or _DEFAULT_LIMIT
    prefix = "x-" + limit_id.replace("_", "-")
    reached = headers.get("x-codex-rate-limit-reached-type")
    return {
        "limitId": limit_id,
        "limitName": headers.get(f"{prefix}-limit-name"),
        "normalModelSlug": None,
        "primary": _window(headers, f"{prefix}-primary"),
        "secondary": _window(headers, f"{prefix}-secondary"),
        "credits": _credits(headers),
        "individualLimit": None,
        "spendControlReached": None,
        "planType": None,
        "rateLimitReachedType": reached if reached in _REACHED_TYPES else None,
    }


def usage_limit_text(
    headers: Mapping[str, str], plan: str | None, resets_at: int | None, *, now: float | None = None
) -> str:
    """Phrase a 429 of type `usage_limit_reached`. `resets_at` and `now` in unix seconds."""
    snapshot = rate_limits(headers)
    reached = _REACHED_TEXT.get(snapshot["rateLimitReachedType"] or "")
    if reached:
        return reached
    again = "try again later." if resets_at is None else f"try again at {_clock(resets_at, now)}."
    if snapshot["limitId"] != _DEFAULT_LIMIT and snapshot["limitName"]:
        return f"{_LIMIT_HIT} for {snapshot['limitName']}. Switch to another model now, or {again}"
    promotion = headers.get("x-codex-promo-message")
    advice = f"{promotion}," if promotion else _PLAN_ADVICE.get(plan or "")
    if advice is None:
        return f"{_LIMIT_HIT}. T{again[1:]}"
    return f"{_LIMIT_HIT}. {advice} or {again}"


def _window(headers: Mapping[str, str], prefix: str) -> dict[str, Any] | None:
    used = _number(headers.get(f"{prefix}-used-percent"))
    if used is None:
        return None
    minutes = _number(headers.get(f"{prefix}-window-minutes"))
    resets_at = _number(headers.get(f"{prefix}-reset-at"))
    if not used and not minutes and resets_at is None:
        # The provider sends zeros for a limit that the account does not have.
        return None
    return {
        "usedPercent": math.floor(used + 0.5),
        "windowDurationMins": None if minutes is None else int(minutes),
        "resetsAt": None if resets_at is None else int(resets_at),
    }


def _credits(headers: Mapping[str, str]) -> dict[str, Any] | None:
    has_credits = _flag(headers.get("x-codex-credits-has-credits"))
    unlimited = _flag(headers.get("x-codex-credits-unlimited"))
    if has_credits is None or unlimited is None:
        return None
    balance = (headers.get("x-codex-credits-balance") or "").strip() or None
    return {"hasCredits": has_credits, "unlimited": unlimited, "balance": balance}


def _flag(text: str | None) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get((text or "").strip().lower())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _clock(at: int, now: float | None) -> str:
    """`8:21 PM` in local time, with the date if that is not today."""
    try:
        when = dt.datetime.fromtimestamp(at).astimezone()
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
    today = dt.datetime.now().astimezone() if now is None else dt.datetime.fromtimestamp(now).astimezone()
    clock = f"{when.hour % 12 or 12}:{when.minute:02} {'AM' if when.hour < 12 else 'PM'}"
    if when.date() == today.date():
        return clock
    teen = 10 < when.day % 100 < 14
    ending = "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(when.day % 10, "th")
    return f"{_MONTHS[when.month - 1]} {when.day}{ending}, {when.year} {clock}"
