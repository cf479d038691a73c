"""Which logins are allowed, plans, stored logins and tokens of the client's."""

from __future__ import annotations

import json
from pathlib import Path

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
from issuer_server import ACCOUNT, jwt, store, visit
from protocol_client import LATER, RpcError

from auth.plans import PLAN_TYPES

configured = account_requests.configured


SHARED_TRACES = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "traces-0.169"


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
