"""Logins to MCP servers, against an authorization server on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest
from mcp_threads import begin, call, configure_home, settle
from mcp_tool_server import http_tools
from protocol_client import ProtocolClient, RpcError


@pytest.fixture
def web(home):
    with http_tools() as web:
        web.issue()
        configure_home(home, f'[mcp_servers.web]\nurl = "{web.url}"\n')
        yield web


def log_in(client, *, code="right", **answer):
    """Begin a login and come back as a browser does; the page that is asked for, and how the login is said to end."""
    since = len(client.lines)
    begun = client.request("mcpServer/oauth/login", {"name": "web"})
    page = urlsplit(begun["authorizationUrl"])
    asked = {name: values[0] for name, values in parse_qs(page.query).items()}
    back = urlencode({"state": asked["state"], **(answer or {"code": code})})
    with urlopen(f"{asked['redirect_uri']}?{back}") as shown:
        assert shown.status == 200
    end = client.wait_for("mcpServer/oauthLogin/completed", since=since).params
    assert end.pop("loginId") == begun["loginId"]
    return begun["authorizationUrl"], asked, end


def status(client, thread):
    [row] = client.request("mcpServerStatus/list", {"threadId": thread})["data"]
    return row["runtimeStatus"], row["authStatus"]


def test_a_server_can_be_used_after_a_login(server, model, home, web):
    client = server()
    thread = begin(client, "web")
    assert status(client, thread) == ("authenticationRequired", "notLoggedIn")
    url, asked, end = log_in(client)
    assert url.startswith(f"{web.origin}/authorization?")
    assert (asked["client_id"], asked["resource"], asked["scope"]) == ("client-1", web.url, "tools")
    assert end == {"name": "web", "threadId": None, "success": True, "error": None}
    [form] = web.forms
    challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
    assert (asked["code_challenge_method"], asked["code_challenge"]) == ("S256", challenge.decode())
    since = len(client.lines)
    client.request("config/mcpServer/reload", {})
    assert settle(client, thread, "web", since=since)["web"]["status"] == "ready"
    assert status(client, thread) == ("connected", "oAuth")
    item, _ = call(client, model, thread, "look", server="web")
    assert item["status"] == "completed"
    [row] = client.request("mcpServerStatus/list", {})["data"]
    assert row["serverInfo"]["name"] == "test-tools"
    assert web.headers_seen[-1]["authorization"] == "Bearer token-1"
    assert not any(b"token-1" in line.raw for line in client.lines)
    assert (home / ".credentials.json").stat().st_mode & 0o777 == 0o600


def test_codex_uses_the_same_login(server, home, marked, binary, web):
    client = server()
    log_in(client)
    client.close()
    with ProtocolClient(
        [binary, "app-server"], cwd=home, env={**marked.env, "CODEX_HOME": str(home)}
    ) as codex:
        codex.initialize(experimentalApi=True)
        theirs = codex.request("thread/start", {"cwd": str(home)})["thread"]["id"]
        assert settle(codex, theirs, "web")["web"]["status"] == "ready"
    assert web.headers_seen[-1]["authorization"] == "Bearer token-1"


def test_a_token_that_is_over_is_renewed_for_the_next_connection(server, model, web):
    web.lifetime_s = 0
    client = server()
    log_in(client)
    thread = begin(client, "web")
    assert status(client, thread) == ("connected", "oAuth")
    assert (web.forms[-1]["grant_type"], web.forms[-1]["refresh_token"]) == ("refresh_token", "refresh-1")
    assert web.headers_seen[-1]["authorization"].startswith("Bearer token-")


def test_a_token_that_ends_in_the_middle_of_a_session_is_renewed(server, model, home, web):
    client = server()
    log_in(client)
    thread = begin(client, "web")
    file = home / ".credentials.json"
    [(key, entry)] = json.loads(file.read_text()).items()
    file.write_text(json.dumps({key: entry | {"expires_at": 1}}))
    web.token = "another"
    item, _ = call(client, model, thread, "look", server="web")
    assert item["status"] == "completed"
    assert web.headers_seen[-1]["authorization"] == "Bearer token-2"


def test_a_token_that_the_server_revoked_before_its_time_is_renewed_once(server, model, web):
    client = server()
    log_in(client)
    thread = begin(client, "web")
    web.token = "another"
    item, _ = call(client, model, thread, "look", server="web")
    assert item["status"] == "completed"
    assert [form["grant_type"] for form in web.forms] == ["authorization_code", "refresh_token"]
    assert web.headers_seen[-1]["authorization"] == "Bearer token-2"


def test_a_revoked_token_is_renewed_for_a_new_connection_too(server, web):
    client = server()
    log_in(client)
    web.token = "another"
    thread = begin(client, "web")
    assert status(client, thread) == ("connected", "oAuth")
    assert web.headers_seen[-1]["authorization"] == "Bearer token-2"


def test_a_server_that_takes_no_token_at_all_is_not_asked_for_ever(server, web):
    client = server()
    log_in(client)
    web.refuses_all = True
    thread = begin(client, "web")
    assert status(client, thread)[0] == "authenticationRequired"
    assert [form["grant_type"] for form in web.forms] == ["authorization_code", "refresh_token"]


def test_a_login_that_comes_to_nothing_says_why_and_keeps_nothing(server, home, web):
    client = server()
    *_, end = log_in(client, error="access_denied", error_description="not you")
    assert end == {"name": "web", "threadId": None, "success": False, "error": "not you"}
    *_, end = log_in(client, code="wrong")
    assert end["error"] == "no token: HTTP 400 invalid_grant"
    assert not (home / ".credentials.json").exists()


def test_nobody_else_can_come_back_for_the_browser(server, home, web):
    client = server()
    page = urlsplit(client.request("mcpServer/oauth/login", {"name": "web"})["authorizationUrl"])
    redirect = parse_qs(page.query)["redirect_uri"][0]
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{redirect}?state=other&code=right")
    with refused.value as answer:
        assert answer.code == 400
    assert web.forms == []


def test_a_login_that_nobody_finishes_ends(server, web):
    client = server()
    client.request("mcpServer/oauth/login", {"name": "web", "timeoutSecs": 1})
    end = client.wait_for("mcpServer/oauthLogin/completed").params
    assert (end["success"], end["error"]) == (False, "timed out waiting for the browser to come back")


@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint"])
def test_a_login_goes_nowhere_where_others_could_listen(server, web, endpoint, monkeypatch):
    honest = web.authorization
    lie = {endpoint: "http://elsewhere.example/x"}
    monkeypatch.setattr(web, "authorization", lambda path, body: (honest(path, body) or {}) | lie)
    client = server()
    with pytest.raises(RpcError) as refused:
        client.request("mcpServer/oauth/login", {"name": "web"})
    assert refused.value.message == (
        "failed to login to MCP server 'web': Metadata error: http://elsewhere.example/x is not reached by https"
    )


def test_a_server_that_knows_of_no_logins_is_refused(server, home):
    with http_tools("secret") as shut:
        configure_home(home, f'[mcp_servers.shut]\nurl = "{shut.url}"\n')
        client = server()
        with pytest.raises(RpcError) as refused:
            client.request("mcpServer/oauth/login", {"name": "shut"})
    assert (refused.value.code, refused.value.message) == (
        -32603,
        (
            "failed to login to MCP server 'shut': Metadata error: OAuth metadata discovery failed for "
            f"{shut.origin}/.well-known/oauth-authorization-server"
        ),
    )


def test_what_else_is_in_the_file_stays(server, home, web):
    other = {"other|0123456789abcdef": {"server_name": "other", "kept": [1, {"as": "it is"}]}}
    (home / ".credentials.json").write_text(json.dumps(other))
    log_in(server())
    entries = json.loads((home / ".credentials.json").read_text())
    assert entries.items() > other.items()
    assert len(entries) == 2
