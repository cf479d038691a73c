"""One account, many threads: streams are bounded, fair, and wait together."""

from __future__ import annotations

import asyncio
import time

import pytest
from running_server import LOOK_S

from supervisor.limiter import Gate, Limiter


def run(main):
    return asyncio.run(asyncio.wait_for(main, 20))


def test_threads_take_turns():
    async def main():
        gate = Gate(1)
        order = []
        await gate.enter("first", (b"w", 0))

        async def one(thread, number):
            await gate.enter(thread, (b"w", number))
            order.append(thread)
            gate.leave((b"w", number))

        # three of one thread came before those of the others
        wanted = ["a", "a", "a", "b", "c"]
        tasks = [asyncio.ensure_future(one(thread, number)) for number, thread in enumerate(wanted, 1)]
        await asyncio.sleep(0)
        assert gate.waiting == 5
        gate.leave((b"w", 0))
        await asyncio.gather(*tasks)
        return order

    assert run(main()) == ["a", "b", "c", "a", "a"]


def test_a_wait_that_is_given_up_takes_no_place():
    async def main():
        gate = Gate(1)
        await gate.enter("a", (b"w", 1))
        waiting = asyncio.ensure_future(gate.enter("b", (b"w", 2)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert gate.waiting == 0
        gate.leave((b"w", 1))
        assert gate.open == set()
        # given up in the very moment in which it was let in
        await gate.enter("a", (b"w", 3))
        late = asyncio.ensure_future(gate.enter("b", (b"w", 4)))
        await asyncio.sleep(0)
        gate.leave((b"w", 3))
        late.cancel()
        await asyncio.wait({late})
        assert gate.open == set()

    run(main())


def test_a_pause_holds_all_and_ends_for_all():
    async def main():
        gate = Gate(None)
        assert not gate.metered
        gate.pause(0.1)
        gate.pause(0.05)  # the longer counts
        assert gate.metered
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(gate.enter(f"t{n}", (b"w", n)) for n in range(5)))
        assert asyncio.get_running_loop().time() - began >= 0.1
        assert len(gate.open) == 5
        gate.pause(3600)  # too long to wait for
        assert gate.paused_s < 1

    run(main())


def test_a_death_gives_the_places_back():
    async def main():
        limiter = Limiter()
        gate = limiter.gate("p", 2)
        await gate.enter("a", (b"dead", 1))
        await gate.enter("b", (b"alive", 1))
        third = asyncio.ensure_future(gate.enter("c", (b"alive", 2)))
        await asyncio.sleep(0)
        limiter.forget(b"dead")
        await third
        assert limiter.state() == [
            {"provider": "p", "streams": 2, "limit": 2, "waiting": 0, "pausedSeconds": 0.0}
        ]

    run(main())


# --- through the front --------------------------------------------------------------------------------------


def gate_of(server):
    rows = [row for row in server.operate("ps")["models"] if row["provider"] == "scripted"]
    return rows[0] if rows else {}


def await_gate(server, condition):
    deadline = time.monotonic() + server.timeout
    while not condition(row := gate_of(server)):
        assert time.monotonic() < deadline, f"the gate stays {row}"
        time.sleep(LOOK_S)
    return row


def test_streams_are_bounded_and_their_places_come_back(server):
    with server("-c", "bulkhead.max_streams=2", "-c", "bulkhead.restart_backoff_ms=1") as s:
        threads = [s.start_thread() for _ in range(4)]
        turns = {thread: s.begin_turn(thread, "!hang") for thread in threads[:2]}
        await_gate(s, lambda row: row and row["streams"] == 2)
        for thread in threads[2:]:
            turns[thread] = s.begin_turn(thread, "!hang")
        await_gate(s, lambda row: row["waiting"] == 2)
        # one that waits is interrupted
        s.request("turn/interrupt", {"threadId": threads[3], "turnId": turns[threads[3]]})
        assert s.end_of(turns[threads[3]])["status"] == "interrupted"
        assert await_gate(s, lambda row: row["waiting"] == 1)["streams"] == 2
        # one that streams dies: the other's turn has come
        s.kill_worker(threads[0])
        await_gate(s, lambda row: row["waiting"] == 0 and row["streams"] == 2)
        for thread in threads[1:3]:
            s.request("turn/interrupt", {"threadId": thread, "turnId": turns[thread]})
        row = await_gate(s, lambda row: row["streams"] == 0)
        assert row == {"provider": "scripted", "streams": 0, "limit": 2, "waiting": 0, "pausedSeconds": 0.0}


def metrics_of(server):
    """What Prometheus would read of the gates: name without prefix, and value, for the provider `scripted`."""
    out = server.operate("metrics")["text"]
    samples = dict(line.rsplit(" ", 1) for line in out.splitlines() if line.startswith("bulkhead_model_"))
    ours = '{provider="scripted"}'
    return {
        name.removeprefix("bulkhead_model_").removesuffix(ours): float(value)
        for name, value in samples.items()
        if name.endswith(ours)
    }


def test_threads_are_let_in_in_their_turn_and_each_provider_has_a_bound_of_its_own(server, model, bulkhead):
    second = "model_providers.second={name='Second',base_url='" + model.url + "',requires_openai_auth=false}"
    bounds = ("-c", "bulkhead.max_streams=3", "-c", "bulkhead.provider_streams.scripted=1", "-c", second)
    with server(*bounds) as s:
        first, *threads = [s.start_thread() for _ in range(4)]
        turn = s.begin_turn(first, "!hang")
        await_gate(s, lambda row: row and row["streams"] == 1)
        turns = []
        for number, thread in enumerate(threads, 1):
            turns.append(s.begin_turn(thread, f"!say {number}"))
            await_gate(s, lambda row, number=number: row["waiting"] == number)
        elsewhere = s.start_thread(modelProvider="second")
        assert s.end_of(s.begin_turn(elsewhere, "!say elsewhere"))["status"] == "completed"
        assert {row["provider"]: row["limit"] for row in s.operate("ps")["models"]} == {
            "scripted": 1,
            "second": 3,
        }
        told = metrics_of(s)
        assert told == {
            "streams": 1,
            "streams_limit": 1,
            "streams_waiting": 3,
            "pause_seconds": 0,
            "pauses_total": 0,
        }
        assert "provider scripted: 1 of 1 streams open, 3 wait\n" in bulkhead("ps")[1]
        s.request("turn/interrupt", {"threadId": first, "turnId": turn})
        for turn in turns:
            assert s.end_of(turn)["status"] == "completed"
    texts = [request.body["input"][-1]["content"][0]["text"] for request in model.requests()]
    assert [text for text in texts if text != "!say elsewhere"] == ["!hang", "!say 1", "!say 2", "!say 3"]


@pytest.mark.parametrize(
    "answer",
    [
        "!status-once 429 retry-after=3",
        "!headers x-ratelimit-remaining-requests=0 x-ratelimit-reset-requests=3s",
    ],
)
def test_a_provider_that_says_not_now_says_it_to_all_threads(server, model, answer):
    """By a 429, or in the headers of an answer: nobody else has to find out, and nobody asks before the time."""
    with server("-c", "model_providers.scripted.stream_max_retries=2") as s:
        first, *others = [s.start_thread() for _ in range(5)]
        told = s.begin_turn(first, f"{answer}\n!say first")
        await_gate(s, lambda row: row and row["pausedSeconds"] > 0)
        requests = [s.send_turn(thread, "!say other") for thread in others]
        await_gate(s, lambda row: row["waiting"] >= len(others))
        figures = metrics_of(s)
        assert figures["streams_waiting"] >= len(others)
        assert figures["pauses_total"] == 1
        assert 0 < figures["pause_seconds"] <= 3
        for turn in (told, *(s.result(request)["turn"]["id"] for request in requests)):
            assert s.end_of(turn)["status"] == "completed"
    saying, *later = model.requests()
    assert len(later) == len(others) + answer.startswith("!status")
    assert all(request.at - saying.at >= 3 for request in later)
