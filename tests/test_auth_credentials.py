from __future__ import annotations

import asyncio
import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth import issuer
from auth.claims import Claims, claims_of
from auth.credentials import Credentials, credentials_of, headers_for, uses_chatgpt
from auth.errors import InvalidHeaderError, MissingVariableError, UnsupportedAuthModeError
from auth.record import AuthRecord, Tokens
from config.providers import BUILT_IN_PROVIDERS, ModelProvider
from network.transport import make_client

OPENAI = BUILT_IN_PROVIDERS["openai"]
KEY = Credentials(mode="apikey", bearer="sk-s3cret")
CHATGPT = Credentials(mode="chatgpt", bearer="access-s3cret", account_id="acct-1")


def jwt(claims):
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


def tokens(**fields):
    return Tokens(**{"id_token": "", "access_token": "access", "refresh_token": "r", **fields})


# --- the login -----------------------------------------------------------------------------------------


def test_no_record_is_no_login():
    assert credentials_of(None) is None
    assert credentials_of(AuthRecord()) is None
    assert credentials_of(AuthRecord(auth_mode="apikey")) is None
    assert credentials_of(AuthRecord(auth_mode="chatgpt", api_key="sk")) is None
    assert credentials_of(AuthRecord(auth_mode="chatgpt", tokens=tokens(access_token=""))) is None


@pytest.mark.parametrize(
    ("mode", "login"),
    [("apikey", "apikey"), (None, "apikey"), ("chatgpt", "chatgpt"), ("chatgptAuthTokens", "chatgpt")],
)
def test_the_mode_decides_between_key_and_tokens(mode, login):
    record = AuthRecord(auth_mode=mode, api_key="sk", tokens=tokens(account_id="acct"))
    assert credentials_of(record) == (
        Credentials(mode="apikey", bearer="sk")
        if login == "apikey"
        else Credentials(mode="chatgpt", bearer="access", account_id="acct")
    )


def test_tokens_alone_are_a_chatgpt_login_whose_account_may_be_in_the_token():
    claims = {"https://api.openai.com/auth": {"chatgpt_account_id": "acct-9"}}
    login = credentials_of(AuthRecord(tokens=tokens(id_token=jwt(claims))))
    assert (login.mode, login.account_id) == ("chatgpt", "acct-9")


def test_an_unknown_mode_is_named():
    with pytest.raises(UnsupportedAuthModeError, match="`agentIdentity`"):
        credentials_of(AuthRecord(auth_mode="agentIdentity", api_key="sk"))


@given(st.text() | st.lists(st.text("abcXYZ-_=é"), min_size=3, max_size=3).map(".".join))
def test_any_text_may_be_a_token(token):
    assert isinstance(claims_of(token), Claims)
    assert claims_of(token).account_id is None


@given(st.dictionaries(st.text(), st.text() | st.integers(-9, 9)))
def test_claims_are_read_whatever_their_length(claims):
    # padding depends on the length of what is encoded
    named = claims_of(jwt({**claims, "email": "u@example.com"}))
    assert named.email == "u@example.com"


# --- the headers ---------------------------------------------------------------------------------------


def test_a_login_goes_to_openai_only():
    assert headers_for(OPENAI, {}, KEY) == {"authorization": "Bearer sk-s3cret"}
    assert headers_for(OPENAI, {}, CHATGPT) == {
        "authorization": "Bearer access-s3cret",
        "chatgpt-account-id": "acct-1",
    }
    assert headers_for(OPENAI, {}) == {}
    assert headers_for(ModelProvider(name="other"), {}, CHATGPT) == {}
    assert headers_for(BUILT_IN_PROVIDERS["ollama"], {"OPENAI_API_KEY": "sk"}, KEY) == {}


def test_a_provider_has_its_own_key():
    provider = ModelProvider(
        name="z", env_key="Z_KEY", experimental_bearer_token="token", requires_openai_auth=True
    )
    assert headers_for(provider, {"Z_KEY": " z \n"}, CHATGPT) == {"authorization": "Bearer z"}
    bearer = ModelProvider(name="z", experimental_bearer_token="token", requires_openai_auth=True)
    assert headers_for(bearer, {}, CHATGPT) == {"authorization": "Bearer token"}


@pytest.mark.parametrize("environ", [{}, {"Z_KEY": ""}, {"Z_KEY": " "}])
def test_a_missing_variable_is_named_with_the_instructions(environ):
    provider = ModelProvider(name="z", env_key="Z_KEY", env_key_instructions="Get one at z.example.")
    with pytest.raises(MissingVariableError) as caught:
        headers_for(provider, environ, KEY)
    assert str(caught.value) == "Missing environment variable: `Z_KEY`. Get one at z.example."
    plain = ModelProvider(name="z", env_key="Z_KEY")
    with pytest.raises(MissingVariableError, match=r"^Missing environment variable: `Z_KEY`\.$"):
        headers_for(plain, environ)


def test_headers_of_the_provider_come_first_and_names_are_one():
    provider = ModelProvider(
        name="z",
        http_headers={"X-One": "1", "X-Two": "2", "Authorization": "Basic x"},
        env_http_headers={"x-two": "TWO", "x-three": "UNSET", "x-four": "BLANK"},
        requires_openai_auth=True,
    )
    environ = {"TWO": "two", "BLANK": " "}
    assert headers_for(provider, environ) == {"x-one": "1", "x-two": "two", "authorization": "Basic x"}
    assert headers_for(provider, environ, KEY)["authorization"] == "Bearer sk-s3cret"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"a b": "1"}, "not a valid HTTP header name: 'a b'"),
        ({"": "1"}, "not a valid HTTP header name: ''"),
        (
            {"x": "s3cret\r\nhost: evil"},
            "the value of the HTTP header `x` has characters that cannot be sent",
        ),
        ({"x": "s3crét"}, "the value of the HTTP header `x` has characters that cannot be sent"),
    ],
)
def test_what_cannot_be_a_header_is_refused_without_its_value(headers, text):
    with pytest.raises(InvalidHeaderError) as caught:
        headers_for(ModelProvider(name="z", http_headers=headers), {})
    assert str(caught.value) == text


def test_a_key_cannot_smuggle_a_header():
    with pytest.raises(InvalidHeaderError) as caught:
        headers_for(ModelProvider(name="z", env_key="K"), {"K": "s3cret\nhost: evil"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "credentials", "expected"),
    [
        (OPENAI, CHATGPT, True),
        (OPENAI, KEY, False),
        (OPENAI, None, False),
        (ModelProvider(name="z"), CHATGPT, False),
        (ModelProvider(name="z", requires_openai_auth=True, env_key="K"), CHATGPT, False),
        (ModelProvider(name="z", requires_openai_auth=True, experimental_bearer_token="t"), CHATGPT, False),
    ],
)
def test_chatgpt_is_used_where_its_token_is_sent(provider, credentials, expected):
    assert uses_chatgpt(provider, credentials) is expected
    assert (CHATGPT.bearer in str(headers_for(provider, {"K": "k"}, credentials))) is expected


def test_credentials_show_no_secret():
    assert repr(CHATGPT) == "Credentials(mode='chatgpt', bearer='<hidden>', account_id='acct-1')"
    assert "s3cret" not in f"{KEY} {KEY.__rich_repr__()}"


# --- the issuer ----------------------------------------------------------------------------------------


def test_an_issuer_that_says_a_little_now_and_then_is_waited_for_as_long_as_any(monkeypatch):
    monkeypatch.setattr(issuer, "REVOKE_TIMEOUT_S", 0.3)

    gone = asyncio.Event()

    async def drip(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(50):
                writer.write(b"still: there\r\n")
                await writer.drain()
                await asyncio.sleep(0.1)
            writer.write(b"content-length: 2\r\n\r\n{}")
        writer.close()
        gone.set()

    async def revoke():
        async with (
            await asyncio.start_server(drip, "127.0.0.1", 0) as server,
            make_client(user_agent="tests", originator="tests") as client,
        ):
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            answered = await issuer.Issuer(client, {"CODEX_APP_SERVER_LOGIN_ISSUER": url}).revoke("token")
            await gone.wait()
            return answered

    assert asyncio.run(revoke()) is False
