"""Logins, logouts and limits through the real front, against an issuer of our own."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest
from issuer_server import ACCOUNT, EMAIL, USER, issuer_home, jwt, running_issuer, visit
from protocol_client import RpcError

from auth.plans import PLAN_TYPES, plan_type


@pytest.fixture
def issuer():
    with running_issuer() as running:
        yield running


@pytest.fixture
def account_home(home, issuer, marked):
    """A home whose provider wants a login of the issuer's."""
    issuer_home(issuer, home, marked)
    return home


@pytest.fixture
def store(account_home):
    def write(document):
        (account_home / "auth.json").write_text(json.dumps(document))

    return write


def stored(home):
    return json.loads((home / "auth.json").read_text())


def completed(server, **wait):
    line = server.wait_for("account/login/completed", what="the end of the login", **wait)
    return line.params


SHARED_TRACES = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "traces-0.169"
READ = {"refreshToken": False}
ROUTING = {
    "chatgptAccountId": ACCOUNT,
    "backendOrigin": "https://chatgpt.com",
    "accountRoutingOverride": "NO_CONSTRAINT",
}


def who(plan):
    return {
        "account": {"type": "chatgpt", "email": EMAIL, "planType": plan, "workspaceName": None},
        "userId": USER,
        "requiresOpenaiAuth": True,
        "workspaceRouting": ROUTING,
    }


# --- the browser ------------------------------------------------------------------------------------------


def test_a_login_in_a_browser(account_home, server, issuer):
    with server() as s:
        begun = s.request("account/login/start", {"type": "chatgpt"})
        callback = issuer.consent(begun["authUrl"])
        port = callback.split("/auth/")[0]
        assert visit(f"{port}/nope") == (404, "Not Found")
        assert visit(f"{port}/auth/callback?code=c&state=wrong") == (400, "State mismatch")
        status, page = visit(callback)
        assert status == 200
        assert "Login complete" in page
        expected = {"loginId": begun["loginId"], "success": True, "error": None, "onboardingEntrypoint": None}
        assert completed(s) == expected
        assert s.wait_for("account/updated").params == {"authMode": "chatgpt", "planType": "business"}
        assert s.request("account/read", READ) == who("business")
        record = stored(account_home)
        assert stat.S_IMODE((account_home / "auth.json").stat().st_mode) == 0o600
        assert record["auth_mode"] == "chatgpt"
        assert record["OPENAI_API_KEY"].startswith("sk-exchanged")
        assert record["tokens"]["account_id"] == ACCOUNT
        assert record["tokens"]["oauth_provenance"]["issuer"] == issuer.url
        assert s.request("account/logout") == {}
        assert issuer.refresh_tokens[record["tokens"]["refresh_token"]] == "revoked"
        assert not (account_home / "auth.json").exists()
        assert s.request("account/read", READ)["account"] is None


def test_a_login_that_was_denied(account_home, server, issuer):
    with server() as s:
        url = s.request("account/login/start", {"type": "chatgpt"})["authUrl"]
        callback = issuer.consent(url).replace(
            "code=", "error=access_denied&error_description=No%20<b>&ignored="
        )
        _, page = visit(callback)
        assert "No &lt;b&gt;" in page
        assert completed(s)["error"] == "Login server error: Sign-in failed: No <b>"
        assert not (account_home / "auth.json").exists()


@pytest.mark.parametrize(("status", "said"), [(503, "503 Service Unavailable"), (400, "400 Bad Request")])
def test_an_issuer_that_fails_in_between(account_home, server, issuer, status, said):
    issuer.failures["/oauth/token"].append((status, {}))
    with server() as s:
        callback = issuer.consent(s.request("account/login/start", {"type": "chatgpt"})["authUrl"])
        visit(callback)
        assert completed(s)["error"] == (
            f"Login server error: Token exchange failed: token endpoint returned status {said}"
        )


def test_a_login_ends_by_time_by_cancel_and_by_the_next_one(account_home, server):
    with server("-c", "bulkhead.login_timeout_s=0.2") as s:
        s.request("account/login/start", {"type": "chatgpt"})
        assert completed(s)["error"] == "Login timed out"
    with server() as s:
        first = s.request("account/login/start", {"type": "chatgpt"})["loginId"]
        second = s.request("account/login/start", {"type": "chatgpt"})["loginId"]
        ended = completed(s)
        assert (ended["loginId"], ended["error"]) == (first, "Login server error: Login cancelled")
        before = len(s.lines)
        assert s.request("account/login/cancel", {"loginId": first}) == {"status": "notFound"}
        assert s.request("account/login/cancel", {"loginId": second}) == {"status": "canceled"}
        ended = completed(s, since=before)
        assert (ended["loginId"], ended["error"]) == (second, "Login server error: Login was not completed")


def test_a_port_that_somebody_else_has(account_home, server):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            server("-c", f"bulkhead.login_port={port}") as s,
            pytest.raises(RpcError, match="is already in use") as e,
        ):
            s.request("account/login/start", {"type": "chatgpt"})
        assert e.value.code == -32603


def test_two_servers_give_each_other_the_port(account_home, server):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with server("-c", f"bulkhead.login_port={port}") as a, server("-c", f"bulkhead.login_port={port}") as b:
        a.request("account/login/start", {"type": "chatgpt"})
        b.request("account/login/start", {"type": "chatgpt"})
        assert completed(a)["error"] == "Login server error: Login cancelled"


# --- device codes ------------------------------------------------------------------------------------------


def test_a_login_with_a_device_code(account_home, server, issuer):
    issuer.failures["/api/accounts/deviceauth/token"].append((502, {}))
    with server() as s:
        begun = s.request("account/login/start", {"type": "chatgptDeviceCode"})
        assert begun["verificationUrl"] == f"{issuer.url}/codex/device"
        assert begun["userCode"] == "ABCD-1234"
        issuer.consented.set()
        assert completed(s)["success"] is True
        assert s.wait_for("account/updated").params == {"authMode": "chatgpt", "planType": "business"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((410, {}), "device auth failed with status 410 Gone"),
        (None, "device auth timed out after 0.3 seconds"),
    ],
)
def test_a_device_code_that_expires(account_home, server, issuer, answer, error):
    if answer:
        issuer.failures["/api/accounts/deviceauth/token"].append(answer)
    with server("-c", "bulkhead.login_timeout_s=0.3") as s:
        s.request("account/login/start", {"type": "chatgptDeviceCode"})
        assert completed(s)["error"] == error


def test_no_device_code_is_to_be_had(account_home, server, issuer):
    issuer.failures["/api/accounts/deviceauth/usercode"].append((500, {}))
    with server() as s, pytest.raises(RpcError, match=r"failed to request device code: .*500"):
        s.request("account/login/start", {"type": "chatgptDeviceCode"})


# --- what is allowed ---------------------------------------------------------------------------------------


def test_forced_methods_and_workspaces(account_home, server, issuer, store):
    store({"auth_mode": "apikey", "OPENAI_API_KEY": "sk-1"})
    with server("-c", 'forced_login_method="chatgpt"') as s:
        assert s.request("account/read", READ)["account"] is None
        assert not (account_home / "auth.json").exists()
        with pytest.raises(RpcError, match=r"API key login is disabled\. Use ChatGPT login instead\."):
            s.request("account/login/start", {"type": "apiKey", "apiKey": "sk"})
    with server("-c", 'forced_login_method="api"') as s:
        for kind in ("chatgpt", "chatgptDeviceCode"):
            with pytest.raises(RpcError, match=r"ChatGPT login is disabled\. Use API key login instead\."):
                s.request("account/login/start", {"type": kind})
    with server("-c", 'forced_chatgpt_workspace_id="acct-other"') as s:
        url = s.request("account/login/start", {"type": "chatgpt"})["authUrl"]
        assert "allowed_workspace_id=acct-other" in url
        visit(issuer.consent(url))
        assert completed(s)["error"] == "Login server error: Login is restricted to workspace id acct-other."


def test_kinds_that_are_not_there_say_so(account_home, server):
    with server() as s, pytest.raises(RpcError, match="`amazonBedrock` logins are not supported"):
        s.request("account/login/start", {"type": "amazonBedrock", "apiKey": "k", "region": "us-east-1"})


# --- plans --------------------------------------------------------------------------------------------------


def test_each_recorded_plan_is_mapped():
    recorded = (
        json.loads((SHARED_TRACES / "30-plan-types.json").read_text()) if SHARED_TRACES.exists() else {}
    )
    for name, answer in recorded.items():
        assert plan_type(None if name == "None" else name) == answer["account"]["planType"]
    assert set(recorded) >= set(PLAN_TYPES) - {"enterprise_cbp_automation"} or not recorded
    assert plan_type("quorum") == plan_type("") == plan_type("Plus") == "unknown"


# --- limits -------------------------------------------------------------------------------------------------


def test_limits_and_usage(account_home, server, issuer, store):
    store(issuer.stored())
    with server() as s:
        limits = s.request("account/rateLimits/read")
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
        usage = s.request("account/usage/read")
        assert usage["summary"]["lifetimeTokens"] == 123
        assert usage["summary"]["longestStreakDays"] == 0
        assert usage["summary"]["peakDailyTokens"] is None
        assert usage["dailyUsageBuckets"] == [{"startDate": "2026-01-01", "tokens": 9}]
        issuer.failures["/backend-api/wham/usage"].append((500, {}))
        with pytest.raises(RpcError, match=r"failed to fetch codex rate limits: GET .*500"):
            s.request("account/rateLimits/read")
        assert s.request("account/rateLimits/read", {})["accountId"] == ACCOUNT


def test_a_backend_that_takes_the_token_no_more_gets_a_new_one(account_home, server, issuer, store):
    store(issuer.stored())
    issuer.failures["/backend-api/wham/usage"].append((401, {}))
    with server() as s:
        assert s.request("account/rateLimits/read")["accountId"] == ACCOUNT
    assert issuer.counts["/oauth/token"] == 1


def test_a_backend_that_does_not_say_where_to(account_home, server, issuer, store):
    store(issuer.stored())
    issuer.failures["/backend-api/wham/accounts/check"].append((503, {}))
    with server() as s, pytest.raises(RpcError, match="workspace routing discovery failed") as caught:
        s.request("account/read", READ)
    assert caught.value.code == -32603


# --- refreshes ----------------------------------------------------------------------------------------------


def test_an_expired_token_is_refreshed_before_its_use(account_home, server, issuer, store):
    store(issuer.stored(expires_in=-1))
    before = stored(account_home)["tokens"]
    with server() as s:
        assert s.request("account/read", READ) == who("business")
        status = s.request("getAuthStatus", {"includeToken": True})
    [(_, _, _, body)] = issuer.of("/oauth/token")
    assert body["refresh_reason"] == "proactive_expiry"
    assert body["refresh_token"] == before["refresh_token"]
    after = stored(account_home)
    assert after["tokens"]["refresh_token"] != before["refresh_token"]
    assert status["authToken"] == after["tokens"]["access_token"]


def test_a_forced_refresh_and_its_plan(account_home, server, issuer, store):
    store(issuer.stored())
    with server() as s:
        assert s.request("account/read", READ) == who("pro")
        assert s.request("account/read", {"refreshToken": True}) == who("business")
    [(_, _, _, body)] = issuer.of("/oauth/token")
    assert body["refresh_reason"] == "forced"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("refresh_token_expired", "has expired"),
        ("refresh_token_reused", "was already used"),
        ("refresh_token_invalidated", "was revoked"),
    ],
)
@pytest.mark.usefixtures("account_home")
def test_a_refused_refresh_is_not_tried_again(server, issuer, store, code, text):
    store(issuer.stored(expires_in=-1))
    issuer.failures["/oauth/token"].append((401, {"error": {"code": code}}))
    with server() as s:
        for _ in range(2):
            assert s.request("account/read", READ)["account"] is None
        assert s.request("getAuthStatus", {})["authMethod"] is None
        # what may still work goes on with the old token
        assert s.request("account/rateLimits/read")["accountId"] == ACCOUNT
        assert f"your refresh token {text}" in s.stderr
    assert issuer.counts["/oauth/token"] == 1


def test_an_issuer_that_fails_is_asked_again(account_home, server, issuer, store):
    store(issuer.stored(expires_in=-1))
    issuer.failures["/oauth/token"] += [(503, {}), (500, {})]
    with server() as s:
        assert s.request("account/read", READ) == who("business")
    assert issuer.counts["/oauth/token"] == 3


def test_a_clock_that_is_ahead_does_not_refresh_for_ever(account_home, server, issuer, store):
    store(issuer.stored(expires_in=-1))
    issuer.lifetime_s = -3600
    with server() as s:
        for _ in range(5):
            s.request("getAuthStatus", {})
        assert "is the clock of this machine right?" in s.stderr
    assert issuer.counts["/oauth/token"] == 1


def test_requests_at_once_share_one_refresh(account_home, server, issuer, store):
    store(issuer.stored(expires_in=-1))
    issuer.delay_s = 0.1
    with server() as s:
        asked = [s.start_request("account/rateLimits/read") for _ in range(50)]
        for request in asked:
            assert s.result(request)["accountId"] == ACCOUNT
    assert issuer.counts["/oauth/token"] == 1


def test_servers_of_one_home_never_use_a_refresh_token_twice(account_home, server, issuer, store):
    rounds = 10
    with server() as a, server() as b:
        for _ in range(rounds):
            store(issuer.stored(expires_in=-1))
            asked = [(s, s.start_request("account/rateLimits/read")) for s in (a, b, a, b)]
            for s, request in asked:
                s.result(request)
    assert issuer.counts["/oauth/token"] == rounds
    assert sorted(set(issuer.refresh_tokens.values())) == ["good", "used"]


# --- tokens of the client's -------------------------------------------------------------------------------------


def test_tokens_that_the_client_supplies(account_home, server, issuer):
    asked = []
    renewed = jwt("pro", mark="renewed")

    def handler(method, params):
        asked.append((method, params))
        return {"accessToken": renewed, "chatgptAccountId": ACCOUNT, "chatgptPlanType": "pro"}

    with server(handler=handler) as s:
        token = jwt("free")
        start = {
            "type": "chatgptAuthTokens",
            "accessToken": token,
            "chatgptAccountId": ACCOUNT,
            "chatgptPlanType": "plus",
        }
        assert s.request("account/login/start", start) == {"type": "chatgptAuthTokens"}
        assert s.wait_for("account/updated").params == {"authMode": "chatgptAuthTokens", "planType": "plus"}
        assert s.request("account/read", {"refreshToken": True}) == who("plus")
        assert asked == []
        with pytest.raises(RpcError, match="External auth is active"):
            s.request("account/login/start", {"type": "chatgpt"})
        issuer.accepted = {renewed}
        assert s.request("account/rateLimits/read")["accountId"] == ACCOUNT
        assert asked == [
            (
                "account/chatgptAuthTokens/refresh",
                {"reason": "unauthorized", "previousAccountId": ACCOUNT},
            )
        ]
        assert not (account_home / "auth.json").exists()
        s.request("account/logout")
        assert s.request("account/read", READ)["account"] is None
    assert issuer.counts["/oauth/token"] == 0


def test_a_token_that_is_none(account_home, server):
    with server() as s, pytest.raises(RpcError, match="failed to set external auth: invalid ID token format"):
        s.request(
            "account/login/start", {"type": "chatgptAuthTokens", "accessToken": "x", "chatgptAccountId": "a"}
        )
