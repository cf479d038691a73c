from __future__ import annotations

from collections import Counter

import pytest
from protocol_client import RpcError
from turn_ledger import TurnLedger, words

THREADS = 200


def test_two_hundred_threads_at_once_lose_nothing_and_none_is_refused(server):
    client = server(timeout=60)
    starts = [
        client.start_request("thread/start", {"cwd": str(client.cwd), "sandbox": "danger-full-access"})
        for _ in range(THREADS)
    ]
    threads = {client.result(start)["thread"]["id"] for start in starts}
    assert len(threads) == THREADS
    for thread in threads:
        client.send_turn(thread, "!stream 20")
    ledger = TurnLedger()
    ledger.follow(client.each(), turns=THREADS)
    assert ledger.statuses() == {"completed": THREADS}
    assert Counter(entry.thread for entry in ledger.turns.values()) == dict.fromkeys(threads, 1)
    assert {entry.said for entry in ledger.turns.values()} == {words(20)}
    pids = {row["pid"] for row in client.operate("ps")["threads"]}
    assert len(pids) == THREADS


def test_a_thread_beyond_the_most_is_refused_until_one_is_gone(server):
    client = server("-c", "bulkhead.max_threads=2")
    first, second = client.start_thread(), client.start_thread()
    client.turn(first, "!say stored")
    for method, params in (("thread/start", {}), ("thread/fork", {"threadId": first})):
        with pytest.raises(RpcError) as refusal:
            client.request(method, params)
        assert refusal.value.code == -32001
        assert "max_threads" in refusal.value.data["server_overloaded"]
    assert client.request("thread/resume", {"threadId": first})["thread"]["id"] == first  # loaded already
    client.request("thread/archive", {"threadId": second})
    third = client.start_thread()
    assert client.turn(third, "!say fine")[-1]["params"]["turn"]["status"] == "completed"
