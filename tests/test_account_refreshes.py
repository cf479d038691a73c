"""When tokens are refreshed, by whom, and what a failure means."""

from __future__ import annotations

import contextlib

import pytest
from account_requests import READ, begin_browser, completed, stored, who
from issuer_server import ACCOUNT, store, visit
from protocol_client import RpcError
from running_server import RunningServer


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
