"""Failures that the scripted model plays on demand: statuses, cuts, silence."""

from __future__ import annotations

import httpx
import modelserver_calls
import pytest
from modelserver_calls import respond, said, sse, user

client = modelserver_calls.client
model = modelserver_calls.model


def test_an_answer_in_one_piece(client):
    answer = client.post("/responses", json={"input": "!say Hi\n!sleep 0.001"}).json()
    assert (answer["object"], answer["status"], answer["model"]) == (
        "response",
        "completed",
        "scripted-model",
    )
    assert answer["output"][0]["content"][0]["text"] == "Hi"


def test_failed_and_incomplete(client):
    events = respond(client, [user("!say part\n!fail context_length_exceeded Too long.")])
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"] == {"code": "context_length_exceeded", "message": "Too long."}
    events = respond(client, [user("!say part\n!incomplete max_output_tokens")])
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert said(events) == ["part"]


def test_a_status_with_headers_and_body(client):
    script = '!headers x-codex-primary-used-percent=12.5\n!status 429 retry-after=1 {"error": {"type": "x"}}'
    answer = client.post("/responses", json={"model": "m", "input": [user(script)], "stream": True})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.headers["x-codex-primary-used-percent"] == "12.5"
    assert answer.json() == {"error": {"type": "x"}}
    plain = client.post("/responses", json={"model": "m", "input": [user("!status 503")]})
    assert (plain.status_code, plain.json()["error"]["code"]) == (503, "scripted_status")


def test_headers_of_a_stream(client):
    with client.stream(
        "POST", "/responses", json={"input": "!headers x-a=1\n!say a", "stream": True}
    ) as answer:
        assert answer.headers["x-a"] == "1"


def test_once_means_once_in_each_turn_of_each_thread(client):
    script = user("!status-once 500\n!say Recovered.")

    def ask(thread, *history):
        body = {"input": [*history, script], "stream": True, "prompt_cache_key": thread}
        return client.post("/responses", json=body).status_code

    assert [ask("a"), ask("a"), ask("b"), ask("b")] == [500, 200, 500, 200]
    assert [ask("a", script), ask("a", script)] == [500, 200]


def test_a_torn_and_a_clean_cut(client):
    torn = {"input": "!cut", "stream": True}
    with pytest.raises(httpx.RemoteProtocolError), client.stream("POST", "/responses", json=torn) as answer:
        for _ in answer.iter_text():
            pass
    events = sse(client.post("/responses", json={"input": "!cut clean", "stream": True}).text)
    assert [event["type"] for event in events[-2:]] == ["response.output_text.delta"] * 2
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/responses", json={"input": "!cut"})


def test_a_cut_once_is_played_on_by_the_retry(client):
    body = {"input": "!cut-once clean\n!say Back.", "stream": True, "prompt_cache_key": "cut-once"}
    first, second = (sse(client.post("/responses", json=body).text) for _ in range(2))
    assert first[-1]["type"] == "response.output_text.delta"
    assert said(second) == ["Back."]


def test_a_hanging_stream_ends_with_its_client(model, client):
    with client.stream("POST", "/responses", json={"input": "!hang", "stream": True}) as answer:
        chunks = answer.iter_text()
        while "partial" not in next(chunks):
            pass
        assert model.health()["streams"] == 1
    [request] = model.wait_for(lambda log: log[0].state != "open")
    assert (request.state, request.status) == ("gone", 200)


def test_a_slow_stream_ends_with_its_client(model, client):
    with client.stream("POST", "/responses", json={"input": "!stream 1000 3600", "stream": True}) as answer:
        next(answer.iter_raw())
    model.wait_for(lambda log: log[0].state == "gone")
