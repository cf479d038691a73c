"""Logins, logouts and limits through the real front, against an issuer of our own."""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import socket
import stat
from concurrent import futures
from pathlib import Path

import pytest
from issuer_server import ACCOUNT, EMAIL, USER, jwt, store, visit
from protocol_client import LATER, RpcError
from running_server import RunningServer

from auth.plans import PLAN_TYPES


@pytest.fixture
def configured(shared_home):
    """Changes the shared server's configuration for this test: `text` comes first, `bulkhead` into our own table."""
    path = shared_home / "config.toml"
    original = path.read_text()

    def configure(text="", bulkhead="login_port = 0"):
        path.write_text(f"{text}\n{original.replace('login_port = 0', bulkhead)}")

    yield configure
    path.write_text(original)


def refused(server, method, params=None):
    with pytest.raises(RpcError) as caught:
        server.request(method, params)
    return caught.value.code, caught.value.message


def stored(home):
    return json.loads((home / "auth.json").read_text())


def completed(server, since=None):
    """What the clients are told of the end of a login, from `since` or the beginning of the test on."""
    since = getattr(server, "since", 0) if since is None else since
    return server.wait_for("account/login/completed", since=since, what="the end of the login").params


def updated(server):
    return server.wait_for("account/updated", since=server.since).params


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


def test_a_login_in_a_browser(running, shared_home, issuer):
    begun = running.request("account/login/start", {"type": "chatgpt"})
    callback = issuer.consent(begun["authUrl"])
    port = callback.split("/auth/")[0]
    assert visit(f"{port}/nope") == (404, "Not Found")
    assert visit(f"{port}/auth/callback?code=c&state=wrong") == (400, "State mismatch")
    status, page = visit(callback)
    assert status == 200
    assert "Login complete" in page
    expected = {"loginId": begun["loginId"], "success": True, "error": None, "onboardingEntrypoint": None}
    assert completed(running) == expected
    assert updated(running) == {"authMode": "chatgpt", "planType": "business"}
    assert running.request("account/read", READ) == who("business")
    record = stored(shared_home)
    assert stat.S_IMODE((shared_home / "auth.json").stat().st_mode) == 0o600
    assert record["auth_mode"] == "chatgpt"
    assert record["OPENAI_API_KEY"].startswith("sk-exchanged")
    assert record["tokens"]["account_id"] == ACCOUNT
    assert record["tokens"]["oauth_provenance"]["issuer"] == issuer.url
    assert running.request("account/logout") == {}
    assert issuer.refresh_tokens[record["tokens"]["refresh_token"]] == "revoked"
    assert not (shared_home / "auth.json").exists()
    assert running.request("account/read", READ)["account"] is None


def begin_browser(server):
    begun = server.request("account/login/start", {"type": "chatgpt"})
    return begun["loginId"], begun["authUrl"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("error=access_denied&error_description=No%20<b>", "Sign-in failed: No <b>"),
        ("error=access_denied", "Sign-in failed: access_denied"),
        ("code=", "Missing authorization code. Sign-in could not be completed."),
    ],
)
def test_a_login_that_was_denied(running, shared_home, issuer, answer, error):
    _, url = begin_browser(running)
    _, page = visit(issuer.consent(url).replace("code=", f"{answer}&ignored="))
    assert html.escape(error) in page
    assert completed(running)["error"] == f"Login server error: {error}"
    assert not (shared_home / "auth.json").exists()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((503, {}), "token endpoint returned status 503 Service Unavailable"),
        (
            (400, {"error": "invalid_grant", "error_description": "bad code"}),
            "token endpoint returned status 400 Bad Request: bad code",
        ),
        (
            (400, {"error": {"message": "deep", "code": "c"}}),
            "token endpoint returned status 400 Bad Request: deep",
        ),
        ((200, {}), "OAuth token response is invalid"),
    ],
)
def test_an_issuer_that_fails_in_between(running, issuer, answer, said):
    issuer.failures["/oauth/token"].append(answer)
    _, url = begin_browser(running)
    visit(issuer.consent(url))
    assert completed(running)["error"] == f"Login server error: Token exchange failed: {said}"
    assert running.request("account/read", READ)["account"] is None


def test_a_login_ends_by_time(running, configured):
    configured(bulkhead="login_port = 0\nlogin_timeout_s = 0.2")
    begin_browser(running)
    assert completed(running)["error"] == "Login timed out"


BROWSER, DEVICE = {"type": "chatgpt"}, {"type": "chatgptDeviceCode"}
KEY = {"type": "apiKey", "apiKey": "sk-1"}
NOT_COMPLETED = "Login was not completed"


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        (BROWSER, BROWSER, "Login server error: Login cancelled"),
        (BROWSER, DEVICE, f"Login server error: {NOT_COMPLETED}"),
        (BROWSER, KEY, f"Login server error: {NOT_COMPLETED}"),
        (DEVICE, BROWSER, NOT_COMPLETED),
        (DEVICE, DEVICE, NOT_COMPLETED),
        (DEVICE, KEY, NOT_COMPLETED),
        (BROWSER, None, f"Login server error: {NOT_COMPLETED}"),
        (DEVICE, None, NOT_COMPLETED),
    ],
)
def test_the_next_login_or_a_logout_ends_the_one_under_way(running, first, then, why):
    """Recorded with Codex 0.169."""
    begun = running.request("account/login/start", first)["loginId"]
    if then is None:
        running.request("account/logout")
    else:
        running.request("account/login/start", then)
    ended = completed(running)
    assert (ended["loginId"], ended["success"], ended["error"]) == (begun, False, why)
    assert running.request("account/login/cancel", {"loginId": begun}) == {"status": "notFound"}
    running.request("account/logout")
    assert running.request("account/read", READ)["account"] is None


@pytest.mark.parametrize(
    ("kind", "why"), [(BROWSER, f"Login server error: {NOT_COMPLETED}"), (DEVICE, NOT_COMPLETED)]
)
def test_a_login_that_is_cancelled(running, kind, why):
    begun = running.request("account/login/start", kind)["loginId"]
    other = "01a20402-fda2-74a2-98ce-91922c68316b"
    assert running.request("account/login/cancel", {"loginId": other}) == {"status": "notFound"}
    assert running.request("account/login/cancel", {"loginId": begun.upper()}) == {"status": "canceled"}
    ended = completed(running)
    assert (ended["loginId"], ended["error"]) == (begun, why)
    assert refused(running, "account/login/cancel", {"loginId": "x"}) == (-32600, "invalid login id: x")


def test_a_login_cancelled_while_its_tokens_are_on_their_way_is_not_stored(running, shared_home, issuer):
    issuer.held.clear()
    begun, url = begin_browser(running)
    with futures.ThreadPoolExecutor(1) as browser:
        page = browser.submit(visit, issuer.consent(url))
        assert issuer.asked.wait(20), "nobody asked for tokens"
        assert running.request("account/login/cancel", {"loginId": begun}) == {"status": "canceled"}
        assert "This login was cancelled." in page.result()[1]
    assert completed(running)["error"] == f"Login server error: {NOT_COMPLETED}"
    issuer.held.set()
    assert running.request("account/read", READ)["account"] is None
    assert not (shared_home / "auth.json").exists()


def test_a_logout_comes_after_the_login_that_waits_for_its_place(running, shared_home, issuer):
    """Another process has the lock of the home, as while it refreshes. Ten times, as it is chance who looks first."""
    for _ in range(10):
        since = running.mark()
        with (shared_home / "auth.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _, url = begin_browser(running)
            visit(issuer.consent(url))
            logout = running.start_request("account/logout")
            running.request("thread/loaded/list", {})
        running.result(logout)
        assert completed(running, since)["success"] is True
        assert running.request("account/read", READ)["account"] is None
        told = running.received("account/updated", since=since)
        assert [line.params["authMode"] for line in told] == ["chatgpt", None]


def test_a_port_that_somebody_else_has(running, configured):
    """What listens there knows nothing of /cancel."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        configured(bulkhead=f"login_port = {port}")
        assert refused(running, "account/login/start", BROWSER) == (
            -32603,
            f"failed to start login server: Port 127.0.0.1:{port} is already in use",
        )


def test_two_servers_give_each_other_the_port(running, configured, account_home, server):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configured(bulkhead=f"login_port = {port}")
    begin_browser(running)
    with server("-c", f"bulkhead.login_port={port}") as other:
        begin_browser(other)
        assert completed(running)["error"] == "Login server error: Login cancelled"


# --- device codes ------------------------------------------------------------------------------------------


def test_a_login_with_a_device_code(running, issuer):
    issuer.failures["/api/accounts/deviceauth/token"].append((502, {}))
    begun = running.request("account/login/start", DEVICE)
    assert begun["verificationUrl"] == f"{issuer.url}/codex/device"
    assert begun["userCode"] == "ABCD-1234"
    issuer.consented.set()
    assert completed(running)["success"] is True
    assert updated(running) == {"authMode": "chatgpt", "planType": "business"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((410, {}), "device auth failed with status 410 Gone"),
        ((400, {"error": "expired_token"}), "device auth failed with status 400 Bad Request"),
        ((401, {"error": "access_denied"}), "device auth failed with status 401 Unauthorized"),
        ((200, {}), "error decoding response body"),
        (None, "device auth timed out after 0.3 seconds"),
    ],
)
def test_a_device_code_that_expires_or_is_refused(running, issuer, configured, answer, error):
    configured(bulkhead="login_port = 0\nlogin_timeout_s = 0.3")
    if answer:
        issuer.failures["/api/accounts/deviceauth/token"].append(answer)
    running.request("account/login/start", DEVICE)
    assert completed(running)["error"] == error


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        ((404, {}), -32600, "device code login is not enabled for this Codex server. Use the browser login"),
        ((500, {}), -32603, "failed to request device code: device code request failed with status 500"),
        ((200, {}), -32603, "failed to request device code: the issuer's answer is not understood"),
        (
            (200, {"device_auth_id": "d", "user_code": "U", "interval": "often"}),
            -32603,
            "failed to request device code: the issuer's answer is not understood",
        ),
    ],
)
def test_no_device_code_is_to_be_had(running, issuer, answer, code, text):
    issuer.failures["/api/accounts/deviceauth/usercode"].append(answer)
    told = refused(running, "account/login/start", DEVICE)
    assert told[0] == code
    assert told[1].startswith(text)


# --- what is allowed ---------------------------------------------------------------------------------------


def test_a_forced_method(running, shared_home, configured):
    store(shared_home, {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-1"})
    assert running.request("account/read", READ)["account"] == {"type": "apiKey"}
    configured('forced_login_method = "chatgpt"')
    assert running.request("account/read", READ)["account"] is None
    assert stored(shared_home)["OPENAI_API_KEY"] == "sk-1"  # not used, and not taken away
    no_keys = (-32600, "API key login is disabled. Use ChatGPT login instead.")
    assert refused(running, "account/login/start", KEY) == no_keys
    configured('forced_login_method = "api"')
    assert running.request("account/read", READ)["account"] == {"type": "apiKey"}
    for kind in (BROWSER, DEVICE):
        no_logins = (-32600, "ChatGPT login is disabled. Use API key login instead.")
        assert refused(running, "account/login/start", kind) == no_logins
    given = {"type": "chatgptAuthTokens", "accessToken": jwt(), "chatgptAccountId": ACCOUNT}
    no_tokens = (-32600, "External ChatGPT auth is disabled. Use API key login instead.")
    assert refused(running, "account/login/start", given) == no_tokens


def test_a_forced_workspace(running, shared_home, issuer, configured):
    store(shared_home, issuer.stored())
    configured('forced_chatgpt_workspace_id = "acct-other"')
    assert running.request("account/read", READ)["account"] is None
    _, url = begin_browser(running)
    assert "allowed_workspace_id=acct-other" in url
    visit(issuer.consent(url))
    assert (
        completed(running)["error"]
        == "Login server error: Login is restricted to workspace id(s) acct-other."
    )
    given = {"type": "chatgptAuthTokens", "accessToken": jwt(), "chatgptAccountId": ACCOUNT}
    assert refused(running, "account/login/start", given) == (
        -32600,
        f'External auth must use one of workspace(s) ["acct-other"], but received "{ACCOUNT}".',
    )
    configured(f'forced_chatgpt_workspace_id = ["acct-other", "{ACCOUNT}"]')
    assert running.request("account/read", READ) == who("pro")


def test_kinds_that_are_not_there_and_fields_that_are_missing_say_so(running):
    def told(**params):
        return refused(running, "account/login/start", params)

    bedrock = {"apiKey": "k", "region": "us-east-1"}
    assert "`amazonBedrock` logins are not supported" in told(type="amazonBedrock", **bedrock)[1]
    assert told(type="apiKey") == (-32600, "Invalid request: missing field `apiKey`")
    assert told(type="chatgptAuthTokens") == (-32600, "Invalid request: missing field `accessToken`")
    assert told(type="nonsense")[1].startswith("Invalid request: unknown variant `nonsense`")
    given = {"accessToken": "x", "chatgptAccountId": "a"}
    assert told(type="chatgptAuthTokens", **given) == (
        -32603,
        "failed to set external auth: invalid ID token format",
    )


# --- plans --------------------------------------------------------------------------------------------------


def recorded_plans():
    path = SHARED_TRACES / "30-plan-types.json"
    return json.loads(path.read_text()) if path.exists() else {}


def test_each_plan_is_told_as_it_was_recorded(running, shared_home, issuer):
    """And, where there are no recordings, as the table has it; names that are none are `unknown`."""
    told = {name: answer["account"]["planType"] for name, answer in recorded_plans().items()}
    assert told.keys() >= PLAN_TYPES.keys() - {"enterprise_cbp_automation"} or not told
    expected = {**PLAN_TYPES, **told, "quorum": "unknown", "Plus": "unknown", "": "unknown"}
    for name, plan in expected.items():
        store(shared_home, issuer.stored(plan=None if name == "None" else name))
        assert running.request("account/read", READ)["account"]["planType"] == plan, name


# --- limits -------------------------------------------------------------------------------------------------


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


# --- refreshes ----------------------------------------------------------------------------------------------


def test_an_expired_token_is_refreshed_before_its_use(running, shared_home, issuer):
    store(shared_home, issuer.stored(expires_in=-1))
    before = stored(shared_home)["tokens"]
    assert running.request("account/read", READ) == who("business")
    status = running.request("getAuthStatus", {"includeToken": True})
    [(_, _, _, body)] = issuer.of("/oauth/token")
    assert body["refresh_reason"] == "proactive_expiry"
    assert body["refresh_token"] == before["refresh_token"]
    after = stored(shared_home)
    assert after["tokens"]["refresh_token"] != before["refresh_token"]
    assert status["authToken"] == after["tokens"]["access_token"]


def test_a_forced_refresh_and_its_plan(running, shared_home, issuer):
    store(shared_home, issuer.stored())
    assert running.request("account/read", READ) == who("pro")
    assert running.request("account/read", {"refreshToken": True}) == who("business")
    [(_, _, _, body)] = issuer.of("/oauth/token")
    assert body["refresh_reason"] == "forced"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((401, {"error": {"code": "refresh_token_expired"}}), "because your refresh token has expired."),
        ((401, {"error": {"code": "refresh_token_reused"}}), "because your refresh token was already used."),
        ((401, {"error": {"code": "refresh_token_invalidated"}}), "because your refresh token was revoked."),
        ((401, {}), "could not be refreshed. Please log out"),
        ((400, {"error": "invalid_grant"}), "could not be refreshed. Please log out"),
        ((400, {"error": {"code": "refresh_token_expired"}}), "because your refresh token has expired."),
    ],
)
def test_a_refused_refresh_is_not_tried_again(running, shared_home, issuer, answer, text):
    store(shared_home, issuer.stored(expires_in=-1))
    issuer.failures["/oauth/token"].append(answer)
    before = len(running.stderr)
    for _ in range(2):
        assert running.request("account/read", READ)["account"] is None
    assert running.request("getAuthStatus", {})["authMethod"] is None
    # what may still work goes on with the old token
    assert running.request("account/rateLimits/read")["accountId"] == ACCOUNT
    assert text in running.stderr[before:]
    assert issuer.counts["/oauth/token"] == 1


@pytest.mark.parametrize("answer", [(503, {}), (500, {}), (403, {}), (429, {}), (400, {}), (200, "x")])
def test_an_issuer_that_fails_is_asked_again(running, shared_home, issuer, answer):
    store(shared_home, issuer.stored(expires_in=-1))
    issuer.failures["/oauth/token"].append(answer)
    assert running.request("account/read", READ) == who("business")
    assert issuer.counts["/oauth/token"] == 2


def test_a_clock_that_is_ahead_does_not_refresh_for_ever(running, shared_home, issuer):
    store(shared_home, issuer.stored(expires_in=-1))
    issuer.lifetime_s = -3600
    for _ in range(5):
        running.request("getAuthStatus", {})
    assert "is the clock of this machine right?" in running.stderr
    assert issuer.counts["/oauth/token"] == 1


def test_requests_at_once_share_one_refresh(running, shared_home, issuer):
    store(shared_home, issuer.stored(expires_in=-1))
    issuer.delay_s = 0.1
    asked = [running.start_request("account/rateLimits/read") for _ in range(50)]
    for request in asked:
        assert running.result(request)["accountId"] == ACCOUNT
    assert issuer.counts["/oauth/token"] == 1


def test_a_logout_comes_after_the_refresh_under_way(server, account_home, issuer):
    """Nobody has a lock where nothing is on disk."""
    running = server("-c", "cli_auth_credentials_store=ephemeral")
    issuer.lifetime_s = -1
    _, url = begin_browser(running)
    visit(issuer.consent(url))
    completed(running)
    issuer.asked.clear()
    issuer.held.clear()
    read = running.start_request("account/rateLimits/read")
    assert issuer.asked.wait(20), "nothing was refreshed"
    logout = running.start_request("account/logout")
    running.request("thread/loaded/list", {})
    issuer.held.set()
    running.result(logout)
    with contextlib.suppress(RpcError):  # either is right: it was asked before the logout
        running.result(read)
    assert running.request("account/read", READ)["account"] is None
    assert "good" not in issuer.refresh_tokens.values()


def test_servers_of_one_home_never_use_a_refresh_token_twice(shared, running, shared_home, issuer):
    """A hundred times, as a second server of the home is only started once."""
    rounds = 100
    with RunningServer(marked=running.marked, cwd=shared_home) as other:
        other.initialize()
        for _ in range(rounds):
            store(shared_home, issuer.stored(expires_in=-1))
            asked = [
                (server, server.start_request("getAuthStatus", {}))
                for server in (running, other, running, other)
            ]
            for server, request in asked:
                assert server.result(request)["authMethod"] == "chatgpt"
    assert issuer.counts["/oauth/token"] == rounds
    assert sorted(issuer.refresh_tokens.values()) == ["good"] * rounds + ["used"] * rounds


# --- what is stored -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document", ["{", "[]", "{}", '{"auth_mode": "nonsense"}', '{"auth_mode": "apikey"}']
)
def test_a_record_that_is_none_is_no_login(running, shared_home, document):
    (shared_home / "auth.json").write_text(document)
    assert running.request("account/read", READ)["account"] is None
    assert running.request("getAuthStatus", {"includeToken": True})["authMethod"] is None
    assert refused(running, "account/rateLimits/read")[0] in (-32600, -32603)


def test_an_empty_key_is_a_login_of_no_use(running):
    assert running.request("account/login/start", {"type": "apiKey", "apiKey": ""}) == {"type": "apiKey"}
    assert running.request("account/read", READ)["account"] == {"type": "apiKey"}
    assert running.request("getAuthStatus", {"includeToken": True})["authMethod"] is None


# --- tokens of the client's -------------------------------------------------------------------------------------


def test_tokens_that_the_client_supplies(running, shared_home, issuer):
    supplier = running.handler
    supplier.asked.clear()
    supplier.tokens = jwt("pro", mark="renewed")
    start = {
        "type": "chatgptAuthTokens",
        "accessToken": jwt("free"),
        "chatgptAccountId": ACCOUNT,
        "chatgptPlanType": "plus",
    }
    assert running.request("account/login/start", start) == {"type": "chatgptAuthTokens"}
    assert updated(running) == {"authMode": "chatgptAuthTokens", "planType": "plus"}
    assert running.request("account/read", {"refreshToken": True}) == who("plus")
    assert supplier.asked == []
    for kind in (BROWSER, DEVICE, KEY):
        code, text = refused(running, "account/login/start", kind)
        assert code == -32600
        assert text.startswith("External auth is active.")
    issuer.accepted = {supplier.tokens}
    assert running.request("account/rateLimits/read")["accountId"] == ACCOUNT
    expected = {"reason": "unauthorized", "previousAccountId": ACCOUNT}
    assert supplier.asked == [("account/chatgptAuthTokens/refresh", expected)]
    assert not (shared_home / "auth.json").exists()
    running.request("account/logout")
    assert running.request("account/read", READ)["account"] is None
    assert issuer.counts["/oauth/token"] == 0


def test_tokens_that_come_too_late_are_not_taken_for_those_of_the_next_login(server, account_home, issuer):
    running = server(handler=lambda *_: LATER)

    def supply(mark):
        tokens = {"accessToken": jwt("pro", mark=mark), "chatgptAccountId": ACCOUNT, "chatgptPlanType": "pro"}
        return tokens, running.request("account/login/start", {"type": "chatgptAuthTokens", **tokens})

    first, _ = supply("first")
    issuer.accepted = set()
    read = running.start_request("account/rateLimits/read")
    question = running.wait_for("account/chatgptAuthTokens/refresh")
    second, _ = supply("second")
    running.respond(question.message["id"], {**first, "accessToken": jwt("pro", mark="late")})
    with pytest.raises(RpcError):
        running.result(read)
    status = running.request("getAuthStatus", {"includeToken": True})
    assert status["authToken"] == second["accessToken"]


@pytest.mark.parametrize("text", ["{bad", "[]", '{"auth_mode": "bogus"}', '{"tokens": 5}', ""])
def test_a_damaged_login_is_none(running, shared_home, text):
    file = shared_home / "auth.json"
    file.write_text(text)
    try:
        for method, what in (
            ("account/rateLimits/read", "rate limits"),
            ("account/usage/read", "token usage"),
        ):
            with pytest.raises(RpcError) as refused:
                running.request(method)
            told = (-32600, f"codex account authentication required to read {what}")
            assert (refused.value.code, refused.value.message) == told
        assert running.request("account/read", {})["account"] is None
    finally:
        file.unlink()
