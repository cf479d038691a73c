"""Rate limits and usage of an account."""

from __future__ import annotations

import pytest
from account_requests import READ, refused, who
from issuer_server import ACCOUNT, store


def test_limits_and_usage(running, shared_home, issuer):
    store(shared_home, issuer.stored())
    limits = running.request("account/rateLimits/read")
    assert limits["ordinaryUsageAllowed"] is True
    assert limits["rateLimits"]["primary"] == {
        "usedPercent": 43,
        "windowDurationMins": 301,
        "resetsAt": 1_900_000_000,
    }
    assert list(limits["rateLimitsByLimitId"]) == ["codex", "codex_other"]
    assert limits["rateLimitsByLimitId"]["codex_other"]["limitName"] == "codex_other"
    assert limits["rateLimitResetCredits"] is None
    [(_, _, headers, _)] = issuer.of("/wham/usage")
    assert headers["chatgpt-account-id"] == ACCOUNT
    usage = running.request("account/usage/read")
    assert usage["summary"]["lifetimeTokens"] == 123
    assert usage["summary"]["longestStreakDays"] == 0
    assert usage["summary"]["peakDailyTokens"] is None
    assert usage["dailyUsageBuckets"] == [{"startDate": "2026-01-01", "tokens": 9}]


@pytest.mark.parametrize(
    "told",
    [
        ("account/rateLimits/read", "usage", "codex rate limits", "rate limits"),
        ("account/usage/read", "profiles/me", "token usage profile", "token usage"),
    ],
)
def test_limits_and_usage_that_are_not_to_be_had(running, shared_home, issuer, told):
    method, path, text, what = told
    assert refused(running, method) == (-32600, f"codex account authentication required to read {what}")
    store(shared_home, {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-1"})
    assert refused(running, method) == (-32600, f"chatgpt authentication required to read {what}")
    document = issuer.stored()
    store(shared_home, document)
    url = f"{issuer.url}/backend-api/wham/{path}"
    for answer, status in (
        ((500, {}), "500 Internal Server Error"),
        ((403, {"detail": "no"}), "403 Forbidden"),
        ((429, {}), "429 Too Many Requests"),
        (
            (500, {"echo": document["tokens"]["access_token"]}),
            "500 Internal Server Error",
        ),
    ):
        issuer.failures[f"/backend-api/wham/{path}"].append(answer)
        assert refused(running, method) == (
            -32603,
            f"failed to fetch {text}: GET {url} failed: {status}",
        )
    issuer.failures[f"/backend-api/wham/{path}"].append((200, "nonsense"))
    assert refused(running, method)[1].startswith(f"failed to fetch {text}: GET {url}: ")
    running.request(method)


def test_a_backend_that_takes_the_token_no_more_gets_a_new_one(running, shared_home, issuer):
    for path, method in (
        ("usage", "account/rateLimits/read"),
        ("profiles/me", "account/usage/read"),
        ("accounts/check", "account/read"),
    ):
        store(shared_home, issuer.stored())
        issuer.failures[f"/backend-api/wham/{path}"].append((401, {}))
        before = issuer.counts["/oauth/token"]
        running.request(method, READ if method == "account/read" else None)
        assert issuer.counts["/oauth/token"] == before + 1
        running.request("account/logout")


def test_a_backend_that_does_not_say_where_to(running, shared_home, issuer):
    store(shared_home, issuer.stored())
    issuer.failures["/backend-api/wham/accounts/check"] += [(503, {}), (200, {"accounts": []})]
    assert refused(running, "account/read", READ) == (-32603, "workspace routing discovery failed")
    missing = (-32603, "selected workspace missing from routing discovery")
    assert refused(running, "account/read", READ) == missing
    assert running.request("account/read", READ) == who("pro")
