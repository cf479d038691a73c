"""The Responses API over a real connection: what is sent, what comes back, and how it is ended."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_http import (
    COMPLETED,
    CREATED,
    Answer,
    ScriptedServer,
    ask,
    chunked,
    collect,
    head,
    kinds,
    message,
    nobody,
    provider,
    raw,
    run,
    sse,
    stream,
)

from workers.models import ModelRequest, Reasoning, make_client, open_stream
from workers.models.events import (
    Completed,
    Created,
    ItemDone,
    MessageStarted,
    RateLimits,
    ReasoningDelta,
    ReasoningStarted,
    SummaryDelta,
    SummaryPartAdded,
    TextDelta,
    TokenUsage,
)
from workers.models.limits import rate_limits
from workers.models.responses import ResponsesDecoder, encode_request

TRACES = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "traces-0.169"
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
NO_LIMITS = rate_limits({})


def test_a_message():
    events, raised, _ = ask(stream(CREATED, *message("Hello there."), COMPLETED))
    done = {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "content": [{"type": "output_text", "text": "Hello there.", "annotations": []}],
        "status": "completed",
    }
    assert raised is None
    assert events == [
        Created("resp_1"),
        MessageStarted("msg_1", None),
        TextDelta("msg_1", "Hello "),
        TextDelta("msg_1", "there."),
        ItemDone(done),
        Completed("resp_1", TokenUsage(100, 20, 0, 30, 5, 130)),
        RateLimits(NO_LIMITS),
    ]


def test_reasoning_phase_calls_and_unknown_events():
    added = {"type": "reasoning", "id": "rs_1", "summary": []}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"}
    events, _, _ = ask(
        stream(
            CREATED,
            {"type": "response.in_progress", "response": {"id": "resp_1", "usage": None, "error": None}},
            {"type": "response.output_item.added", "item": added},
            {"type": "response.reasoning_summary_part.added", "item_id": "rs_1", "summary_index": 1},
            {
                "type": "response.reasoning_summary_text.delta",
                "item_id": "rs_1",
                "summary_index": 1,
                "delta": "a",
            },
            {"type": "response.reasoning_text.delta", "item_id": "rs_1", "content_index": 2, "delta": "b"},
            {"type": "response.output_item.done", "item": added},
            {"type": "response.odd.delta", "delta": {"not": "text"}},
            {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{}"},
            {"type": "response.output_item.added", "item": call},
            {"type": "response.output_item.done", "item": call},
            {
                "type": "response.output_item.added",
                "item": {"type": "message", "id": "m", "phase": "commentary"},
            },
            COMPLETED,
        )
    )
    assert events[1:-2] == [
        ReasoningStarted("rs_1"),
        SummaryPartAdded("rs_1", 1),
        SummaryDelta("rs_1", 1, "a"),
        ReasoningDelta("rs_1", 2, "b"),
        ItemDone(added),
        ItemDone(call),
        MessageStarted("m", "commentary"),
    ]


def test_deltas_of_a_message_that_was_not_announced():
    events, _, _ = ask(
        stream(CREATED, {"type": "response.output_text.delta", "item_id": "m", "delta": "x"}, COMPLETED)
    )
    assert events[1:3] == [MessageStarted("m"), TextDelta("m", "x")]


def test_usage_may_be_missing_and_may_tell_of_cache_writes():
    def completed(usage):
        return {"type": "response.completed", "response": {"id": "r", **usage}}

    events, _, _ = ask(stream(completed({})))
    assert events[0] == Completed("r", None)
    details = {"cached_tokens": 5, "cache_write_tokens": 7}
    events, _, _ = ask(
        stream(
            completed({"usage": {"input_tokens": 100, "input_tokens_details": details, "output_tokens": 3}})
        )
    )
    assert events[0] == Completed("r", TokenUsage(100, 5, 7, 3, 0, 103))


def test_a_completed_event_that_can_not_be_read_is_retried():
    events, raised, requests = ask(
        stream({"type": "response.completed", "response": {"usage": 1}}), stream(CREATED, COMPLETED)
    )
    assert raised is None
    assert len(requests) == 2
    assert "failed to parse ResponseCompleted" in events[1].details


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12))
def test_any_split_of_the_body_gives_the_same_events(cuts):
    body = sse(CREATED, *message("Grüße, wie geht's?"), COMPLETED)
    places = [0, *sorted({cut for cut in cuts if cut < len(body)}), len(body)]
    pieces = [body[start:end] for start, end in pairwise(places)]
    data = head() + b"transfer-encoding: chunked\r\n\r\n"
    data += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    events, raised, _ = ask(Answer(data))
    assert raised is None
    assert "".join(e.delta for e in events if isinstance(e, TextDelta)) == "Grüße, wie geht's?"
    assert kinds(events)[-3:] == ["ItemDone", "Completed", "RateLimits"]


def test_a_compressed_stream_is_read():
    body = gzip.compress(sse(CREATED, *message(), COMPLETED))
    events, raised, requests = ask(
        Answer(head(content_encoding="gzip", content_length=len(body)) + b"\r\n" + body)
    )
    assert raised is None
    assert "Completed" in kinds(events)
    assert requests[0].headers["accept-encoding"] == "identity"


# --- what is sent --------------------------------------------------------------------------------


def test_the_whole_request():
    tool = {"type": "function", "name": "f", "parameters": {}, "strict": False}
    request = ModelRequest(
        model="gpt",
        instructions="Be kind.",
        input=[raw(ITEM), ITEM],
        tools=[tool],
        parallel_tool_calls=False,
        reasoning=Reasoning(effort="medium", summary="auto"),
        verbosity="low",
        output_schema={"type": "object"},
        prompt_cache_key="T",
    )
    _, _, (seen,) = ask(
        chunked(CREATED, COMPLETED),
        request=request,
        headers={"X-Static": "1"},
        query_params={"api-version": "v 1"},
    )
    assert seen.method == "POST"
    assert seen.target == "/v1/responses?api-version=v+1"
    assert seen.headers["accept"] == "text/event-stream"
    assert seen.headers["content-type"] == "application/json"
    assert (seen.headers["user-agent"], seen.headers["originator"]) == ("ua/1", "rec")
    assert seen.headers["x-static"] == "1"
    assert seen.json == {
        "model": "gpt",
        "instructions": "Be kind.",
        "stream": True,
        "input": [ITEM, ITEM],
        "tools": [tool],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "store": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "T",
        "text": {
            "verbosity": "low",
            "format": {
                "type": "json_schema",
                "strict": True,
                "name": "codex_output_schema",
                "schema": {"type": "object"},
            },
        },
    }


def test_what_is_not_set_is_not_sent():
    assert json.loads(encode_request(ModelRequest(model="m", input=[ITEM]))) == {
        "model": "m",
        "stream": True,
        "input": [ITEM],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "store": False,
    }


def test_credentials_win_and_are_asked_for_at_every_try():
    tokens = iter(["old", "new"])

    async def authorize():
        return {"Authorization": f"Bearer {next(tokens)}"}

    async def main():
        async with ScriptedServer(
            Answer(b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n"), chunked(CREATED, COMPLETED)
        ) as server:
            await collect(
                server,
                authorize=authorize,
                headers={"authorization": "static", "x-a": "1", "x-b": "1"},
                turn_headers={"X-B": "2", "authorization": "turn"},
            )
            return server.requests

    requests = run(main())
    assert [seen.headers["authorization"] for seen in requests] == ["Bearer old", "Bearer new"]
    assert (requests[0].headers["x-a"], requests[0].headers["x-b"]) == ("1", "2")


# --- connections ---------------------------------------------------------------------------------


def test_the_connection_is_used_again():
    async def main():
        async with ScriptedServer(chunked(CREATED, COMPLETED)) as server:
            async with make_client(user_agent="u", originator="o", environ={}) as client:
                for _ in range(3):
                    _, raised = await collect(server, client=client)
                    assert raised is None
            return server.connections, len(server.requests)

    assert run(main()) == (1, 3)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_kept_connection_that_the_server_closes_under_a_request_costs_no_try(end):
    async def main():
        hello = chunked(CREATED, *message(), COMPLETED)
        async with ScriptedServer(hello, Answer(b"", end), hello) as server:
            async with make_client(user_agent="u", originator="o", environ={}) as client:
                settings = {"client": client, "request_max_retries": 0, "stream_max_retries": 0}
                _, raised = await collect(server, **settings)
                assert raised is None
                again, raised = await collect(server, **settings)
            return kinds(again), raised, server.requests

    found, raised, requests = run(main())
    assert raised is None
    assert "Retrying" not in found
    assert [request.connection for request in requests] == [1, 1, 2]
    assert requests[2].body == requests[1].body


def test_a_new_connection_that_the_server_closes_is_a_failed_try():
    async def main():
        async with ScriptedServer(Answer(b"", "close")) as server:
            _, raised = await collect(server, request_max_retries=0, stream_max_retries=0)
            return raised, len(server.requests)

    raised, requests = run(main())
    assert "error sending request" in str(raised)
    assert requests == 1


def test_a_stream_that_does_not_end_after_completed_is_left():
    async def main():
        async with ScriptedServer(chunked(CREATED, COMPLETED, end=False)) as server:
            events, raised = await collect(server)
            await server.hung_up.wait()
            return events, raised

    events, raised = run(main())
    assert raised is None
    assert kinds(events) == ["Created", "Completed", "RateLimits"]


OPEN_ENDED = chunked(CREATED, *list(message())[:3], end=False)


def test_closing_the_iterator_closes_the_connection():
    async def main():
        async with (
            ScriptedServer(OPEN_ENDED) as server,
            make_client(user_agent="u", originator="o", environ={}) as client,
        ):
            call = open_stream(provider(server.base_url), ModelRequest(model="m"), nobody, client)
            async with aclosing(call) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        break
            await server.hung_up.wait()
            return len(server.requests)

    assert run(main()) == 1


def test_cancelling_the_task_closes_the_connection():
    async def main():
        async with (
            ScriptedServer(OPEN_ENDED) as server,
            make_client(user_agent="u", originator="o", environ={}) as client,
        ):
            said = asyncio.Event()

            async def turn():
                call = open_stream(provider(server.base_url), ModelRequest(model="m"), nobody, client)
                async with aclosing(call) as events:
                    async for event in events:
                        if isinstance(event, TextDelta):
                            said.set()

            task = asyncio.create_task(turn())
            await said.wait()
            task.cancel()
            await server.hung_up.wait()
            with pytest.raises(asyncio.CancelledError):
                await task
            return len(server.requests)

    assert run(main()) == 1


def test_cancelling_before_the_answer_closes_the_connection():
    async def main():
        async with ScriptedServer(Answer(b"", "hold")) as server:
            task = asyncio.create_task(collect(server))
            await server.asked.wait()
            task.cancel()
            await server.hung_up.wait()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def test_the_error_of_authorize_is_the_callers():
    async def authorize():
        raise KeyError("broker")

    async def main():
        async with ScriptedServer(chunked(CREATED, COMPLETED)) as server:
            with pytest.raises(KeyError):
                await collect(server, authorize=authorize)
            return server.requests

    assert run(main()) == []


# --- rate limits ---------------------------------------------------------------------------------


def test_rate_limit_headers():
    headers = {
        "x_codex_primary_used_percent": "12.5",
        "x_codex_primary_window_minutes": "300",
        "x_codex_primary_reset_at": "1795367404",
        "x_codex_secondary_used_percent": "40",
        "x_codex_secondary_window_minutes": "10080",
        "x_codex_secondary_reset_at": "1795450204",
        "x_codex_credits_has_credits": "true",
        "x_codex_credits_unlimited": "false",
        "x_codex_credits_balance": "9.99",
    }
    events, _, _ = ask(stream(CREATED, COMPLETED, **headers))
    assert events[-1].snapshot == {
        "limitId": "codex",
        "limitName": None,
        "normalModelSlug": None,
        "primary": {"usedPercent": 13, "windowDurationMins": 300, "resetsAt": 1795367404},
        "secondary": {"usedPercent": 40, "windowDurationMins": 10080, "resetsAt": 1795450204},
        "credits": {"hasCredits": True, "unlimited": False, "balance": "9.99"},
        "individualLimit": None,
        "spendControlReached": None,
        "planType": None,
        "rateLimitReachedType": None,
    }
    if TRACES.is_dir():
        assert json.dumps(events[-1].snapshot) in (TRACES / "04-turn-text.jsonl").read_text()


def test_half_a_set_of_headers():
    half = rate_limits(
        {
            "x-codex-primary-used-percent": "nan",
            "x-codex-secondary-used-percent": "0",
            "x-codex-credits-has-credits": "true",
        }
    )
    assert half == NO_LIMITS


@given(st.binary(max_size=60))
def test_no_data_breaks_the_decoder(data):
    ResponsesDecoder().feed(data)
