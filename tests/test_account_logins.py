"""Logins through a browser or with a device code, and how they end."""

from __future__ import annotations

import fcntl
import html
import socket
import stat
from concurrent import futures

import account_requests
import pytest
from account_requests import (
    BROWSER,
    DEVICE,
    KEY,
    READ,
    begin_browser,
    completed,
    refused,
    stored,
    updated,
    who,
)
from issuer_server import ACCOUNT, visit

configured = account_requests.configured


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
