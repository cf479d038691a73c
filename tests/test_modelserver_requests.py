"""The scripted model's log, odd requests, and many at a time."""

from __future__ import annotations

import asyncio
import gzip
import json

import httpx
import modelserver_calls
import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelserver_calls import said, sse

from modelserver import conversation

client = modelserver_calls.client
model = modelserver_calls.model


def test_models_and_health(client, model):
    assert client.get("/models").json()["data"][0]["id"] == "scripted-model"
    assert model.health()["status"] == "ok"


def test_the_log_masks_credentials(client, model):
    secret = "sk-very-secret"
    for token in (secret, secret, "another"):
        client.post("/responses", json={"input": "!say a"}, headers={"authorization": f"Bearer {token}"})
    seen = [request.headers["authorization"] for request in model.requests()]
    assert seen[0] == seen[1] != seen[2]
    assert seen[0].startswith("Bearer ***")
    assert secret not in json.dumps([request.headers for request in model.requests()])
    assert model.requests()[0].body == {"input": "!say a"}
    assert [request.state for request in model.requests()] == ["done"] * 3


def test_waiting_for_what_never_comes(model):
    model.clear()
    with pytest.raises(TimeoutError, match="0 requests"):
        model.wait_for(lambda log: len(log) > 0, timeout=0.05)


def test_a_packed_body(client, model):
    raw = json.dumps({"input": "!say packed"}).encode()
    packed = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = client.post("/responses", content=gzip.compress(raw), headers=packed)
    assert answer.json()["output"][0]["content"][0]["text"] == "packed"
    assert model.requests()[-1].body == {"input": "!say packed"}
    assert client.post("/responses", content=gzip.compress(raw)[:-9], headers=packed).status_code == 400
    assert client.post("/responses", content=b"no gzip", headers=packed).status_code == 400
    zstd = client.post("/responses", content=raw, headers={"content-encoding": "zstd"})
    assert zstd.status_code == 415


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/responses", b"{not json", 400),
        ("/responses", b"[]", 400),
        ("/responses", b'{"model": 5, "input": []}', 400),
        ("/responses", b'{"input": {}}', 400),
        ("/responses", b"[" * 100_000, 400),
        ("/chat/completions", b'{"input": []}', 400),
        ("/nowhere", b"{}", 404),
    ],
)
def test_a_bad_request_is_refused_and_logged(client, model, path, content, status):
    answer = client.post(path, content=content)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert [(request.path, request.status) for request in model.requests()] == [(f"/v1{path}", status)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)

KEYS = ("type", "role", "content", "text", "tools", "name", "call_id", "output", "tool_call_id", "parameters")

messy = st.dictionaries(
    st.sampled_from(KEYS), json_values | st.sampled_from(["user", "message", "tool", "function"])
)


@given(st.lists(messy | json_values, max_size=5), st.lists(messy | json_values, max_size=3))
def test_any_json_is_a_conversation(entries, tools):
    conversation.of_responses({"input": entries, "tools": tools})
    conversation.of_chat({"messages": entries, "tools": tools})


def test_two_hundred_streams_at_a_time(model):
    model.clear()
    clients, deltas = 200, 20

    async def one(http, number):
        text = f"!say Client {number}.\n!stream {deltas} 0.01"
        answer = await http.post("/responses", json={"input": text, "stream": True})
        return said(sse(answer.text))

    async def all_of_them():
        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(base_url=model.url, timeout=60, limits=limits, trust_env=False) as http:
            return await asyncio.gather(*(one(http, number) for number in range(clients)))

    numbered = " ".join(f"w{number:04d}" for number in range(1, deltas + 1))
    assert asyncio.run(all_of_them()) == [[f"Client {number}.", numbered] for number in range(clients)]
    assert {request.state for request in model.requests()} == {"done"}
