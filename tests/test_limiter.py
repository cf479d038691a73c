"""One account, many threads: streams are bounded, fair, and wait together."""

from __future__ import annotations

import asyncio
import time

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


def test_a_provider_that_says_not_now_says_it_to_all_threads(server, model):
    with server("-c", "model_providers.scripted.stream_max_retries=2") as s:
        first, second = s.start_thread(), s.start_thread()
        told = s.begin_turn(first, "!status-once 429 retry-after=2\n!say first")
        await_gate(s, lambda row: row and row["pausedSeconds"] > 0)
        other = s.begin_turn(second, "!say second")
        await_gate(s, lambda row: row["waiting"] >= 1)
        for turn in (told, other):
            assert s.end_of(turn)["status"] == "completed"
    refused, *later = model.requests()
    assert len(later) == 2
    assert all(request.at - refused.at >= 2 for request in later)
