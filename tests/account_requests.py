"""Requests about accounts, what clients are told of them, and what is stored."""

from __future__ import annotations

import json

import pytest
from issuer_server import ACCOUNT, EMAIL, USER
from protocol_client import RpcError


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


def begin_browser(server):
    begun = server.request("account/login/start", {"type": "chatgpt"})
    return begun["loginId"], begun["authUrl"]


BROWSER, DEVICE = {"type": "chatgpt"}, {"type": "chatgptDeviceCode"}

KEY = {"type": "apiKey", "apiKey": "sk-1"}
