"""Over a limit only that thread ends, and the reason names the limit."""

from __future__ import annotations

import pytest
from protocol_client import RpcError

HUNGRY = "!run python3 -c 'import time; x = bytearray(300 << 20); time.sleep(1000)'"
CASES = {
    "memory_mib": (100, HUNGRY),
    "processes": (6, "!run for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait"),
    "turn_cpu_s": (0.2, "!run while :; do :; done"),
    "turn_s": (0.5, "!run sleep 1000"),
}


@pytest.mark.parametrize("limit", CASES)
def test_over_a_limit_only_that_thread_ends_and_says_which_limit(server, limit):
    value, script = CASES[limit]
    client = server()
    over = client.start_thread(config={f"bulkhead.limits.{limit}": value})
    other = client.start_thread()
    steady = client.begin_turn(other, "!stream 300 0.005")
    turn = client.begin_turn(over, script)
    end = client.end_of(turn)
    assert end["status"] == "failed"
    assert f"over a limit: {limit} = {value}" in end["error"]["message"]
    assert client.end_of(steady)["status"] == "completed"
    assert (client.row(other)["epoch"], client.row(other)["restarts"]) == (1, 0)
    row = client.await_row(over, lambda row: row["epoch"] == 2)
    assert f"{limit} = {value}" in row["lastEnd"]
    assert client.turn(over, "!say on we go")[-1]["params"]["turn"]["status"] == "completed"


def test_limits_of_the_configuration_hold_for_all_and_a_request_may_change_them(server):
    client = server("-c", "bulkhead.limits.turn_s=0.5")
    bounded = client.start_thread()
    free = client.start_thread(config={"bulkhead": {"limits": {"turn_s": 0}}})
    turns = {thread: client.begin_turn(thread, "!stream 400 0.005") for thread in (bounded, free)}
    assert client.end_of(turns[free])["status"] == "completed"
    assert "turn_s = 0.5" in client.end_of(turns[bounded])["error"]["message"]
    assert client.operate("inspect", thread=free)["limits"]["turn_s"] == 0
    with pytest.raises(RpcError, match="turn_s"):
        client.start_thread(config={"bulkhead.limits.turn_s": "long"})


def test_a_worker_above_its_mark_is_new_before_the_next_turn(server):
    client = server("-c", "bulkhead.limits.recycle_mib=1")
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    client.await_row(thread, lambda row: row["state"] == "hibernated")
    assert client.turn(thread, "!say again")[-1]["params"]["turn"]["status"] == "completed"
    assert client.row(thread)["restarts"] == 0


def test_a_thread_that_floods_its_log_is_ended(server):
    client = server("-c", "bulkhead.limits.log_mib=2")
    thread = client.start_thread()
    log = client.operate("logs", thread=thread)["path"]
    with open(log, "ab") as file:  # as the worker's own programs would
        file.write(b"x" * (5 << 20))
    row = client.await_row(thread, lambda row: row["epoch"] == 2)
    assert "log_mib = 2" in row["lastEnd"]
