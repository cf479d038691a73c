"""Idle threads give their processes back; their clients do not notice."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from protocol_client import LATER, RpcError
from running_server import LOOK_S, PATIENCE_S, await_ends
from turn_ledger import TurnLedger

from supervisor.pressure import waited_for_memory

SOON = ("-c", "bulkhead.hibernate_after_s=0.2")


def await_sleep(client, thread):
    return client.await_row(thread, lambda row: row["state"] == "hibernated")


def test_an_idle_thread_gives_its_process_back_and_the_next_request_wakes_it(server, model):
    client = server(*SOON)
    thread = client.start_thread()
    client.turn(thread, "The first turn.\n!say hello")
    worker = client.worker(thread)
    since = client.mark()
    await_ends([worker])
    row = await_sleep(client, thread)
    assert (row["pid"], row["restarts"], row["lastEnd"]) == (None, 0, "hibernated")
    assert client.request("thread/loaded/list", {})["data"] == [thread]
    listed = client.request("thread/list", {})["data"]
    assert [entry["status"] for entry in listed] == [{"type": "idle"}]
    assert not [line for line in client.lines[since:] if not line.sent and line.method]  # nobody was told

    told = client.turn(thread, "The second turn.\n!say again")
    assert told[-1]["params"]["turn"]["status"] == "completed"
    assert "The first turn." in str(model.requests()[-1].body["input"])
    row = client.row(thread)
    assert (row["wakes"], row["restarts"], row["epoch"]) == (1, 0, 2)
    stored = client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"]["turns"]
    assert [turn["status"] for turn in stored] == ["completed", "completed"]


@pytest.mark.parametrize("ephemeral", [False, True])
def test_a_thread_without_a_turn_wakes_too(server, ephemeral):
    client = server(*SOON)
    thread = client.start_thread(ephemeral=ephemeral)
    for number in range(2):
        await_sleep(client, thread)
        told = client.turn(thread, f"!say {number}")
        assert told[-1]["params"]["turn"]["status"] == "completed"
    assert client.row(thread)["wakes"] == 2


def test_a_turn_keeps_its_worker_awake_and_so_does_an_open_approval(server):
    client = server(*SOON, handler=lambda *_: LATER)
    thread = client.start_thread(approvalPolicy="untrusted", sandbox="read-only")
    turn = client.begin_turn(thread, "!run touch asked.txt\n!then\n!say done")
    question = client.wait_for("item/commandExecution/requestApproval", since=0).message
    worker, other = client.worker(thread), client.start_thread()
    await_sleep(client, other)  # so much time has passed
    assert client.worker(thread) == worker
    client.respond(question["id"], {"decision": "decline"})
    assert client.end_of(turn)["status"] == "completed"
    await_sleep(client, thread)


def test_a_background_terminal_keeps_its_worker_awake(server, workspace):
    client = server(*SOON)
    thread = client.start_thread()
    client.turn(thread, "!start sleep 1000; echo\n!then\n!say it goes on")
    worker, other = client.worker(thread), client.start_thread()
    await_sleep(client, other)
    time.sleep(0.5)  # it is asked, and stays
    row = client.row(thread)
    assert (row["pid"], row["state"]) == (worker, "idle")


def test_many_requests_while_a_worker_falls_asleep_are_all_answered(server):
    client = server("-c", "bulkhead.hibernate_after_s=0.01")
    threads = [client.start_thread() for _ in range(4)]
    for number in range(6):
        for thread in threads:
            client.send_turn(thread, f"!say {number}")
        client.request("thread/loaded/list", {})
        ended = len(threads) * (number + 1)
        client.wait_for(lambda _: len(client.received("turn/completed")) >= ended, since=0)  # noqa: B023
        time.sleep(0.005 * number)
    ledger = TurnLedger()
    for line in list(client.lines):
        ledger.take(line)
    ledger.settle()
    assert ledger.statuses() == {"completed": 24}
    assert sum(client.row(thread)["wakes"] for thread in threads) > 0
    assert {client.row(thread)["restarts"] for thread in threads} == {0}


def test_a_worker_that_is_asked_while_it_loads_falls_asleep_when_it_has_loaded(server):
    client = server("-c", "bulkhead.hibernate_after_s=0.001")  # each is asked at once
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    await_sleep(client, thread)
    for _ in range(4):
        with suppress(Exception):  # the new worker may be asleep again before anybody has looked
            client.operate("restart", thread=thread)
        await_sleep(client, thread)
    assert client.row(thread)["epoch"] >= 5


def test_a_sleeping_thread_is_nobody_elses_until_its_server_ends(server, marked):
    first, second = server(*SOON), server()
    thread = first.start_thread()
    first.turn(thread, "!say mine")
    await_sleep(first, thread)
    with pytest.raises(RpcError, match=f"already has an active writer .process {first.pid}."):
        second.request("thread/resume", {"threadId": thread})
    lease = Path(marked.env["BULKHEAD_HOME"]) / "bulkhead" / "leases" / thread
    assert lease.exists()
    # A dead holder's lease blocks nobody.
    mine = [first.pid, first.zygote, *first.parked()]
    await_ends(mine, ended=lambda: os.kill(first.pid, signal.SIGKILL))
    assert lease.exists()
    second.request("thread/resume", {"threadId": thread})
    assert second.turn(thread, "!say yours")[-1]["params"]["turn"]["status"] == "completed"
    assert not lease.exists()


def test_a_thread_that_is_written_elsewhere_is_refused_with_the_holder(server):
    first, second = server(), server()
    thread = first.start_thread()
    first.turn(thread, "!say mine")
    with pytest.raises(RpcError, match=f"process {first.worker(thread)}"):
        second.request("thread/resume", {"threadId": thread})


def test_a_sleeping_thread_can_be_archived_and_the_end_of_the_server_leaves_no_lease(server, marked):
    client = server(*SOON)
    gone, asleep = client.start_thread(), client.start_thread()
    for thread in (gone, asleep):
        client.turn(thread, "!say hello")
        await_sleep(client, thread)
    client.request("thread/archive", {"threadId": gone})
    assert client.request("thread/loaded/list", {})["data"] == [asleep]
    client.close()
    leases = Path(marked.env["BULKHEAD_HOME"]) / "bulkhead" / "leases"
    assert not list(leases.iterdir())


def test_a_thread_without_a_turn_can_be_archived_in_its_sleep(server):
    client = server(*SOON)
    thread = client.start_thread()
    await_sleep(client, thread)
    client.request("thread/archive", {"threadId": thread})
    listed = client.request("thread/list", {"archived": True})["data"]
    assert [entry["id"] for entry in listed] == [thread]


def fall_asleep_late(client, thread, then):
    """Have a worker learn that it is to sleep, and what `then` has the front tell it, in one go."""
    worker = client.worker(thread)
    os.kill(worker, signal.SIGSTOP)
    try:
        await_sleep(client, client.start_thread())  # so it has been asked as well
        then()
    finally:
        os.kill(worker, signal.SIGCONT)


@pytest.mark.parametrize("used", [True, False])
def test_a_thread_that_is_falling_asleep_when_it_is_archived_is_stored_and_leaves_no_lease(
    server, marked, used
):
    client = server("-c", "bulkhead.hibernate_after_s=1")
    thread = client.start_thread()
    if used:
        client.turn(thread, "!say hello")
    requests = []

    def archive():
        requests.append(client.start_request("thread/archive", {"threadId": thread}))
        client.await_row(thread, lambda row: row["state"] == "stopping")

    fall_asleep_late(client, thread, archive)
    client.result(requests[0])
    assert thread not in client.request("thread/loaded/list", {})["data"]
    listed = client.request("thread/list", {"archived": True})["data"]
    assert [entry["id"] for entry in listed] == [thread]
    assert not (Path(marked.env["BULKHEAD_HOME"]) / "bulkhead" / "leases" / thread).exists()


def test_a_thread_that_is_falling_asleep_when_the_server_ends_leaves_no_lease(server, marked):
    client = server("-c", "bulkhead.hibernate_after_s=1")
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    fall_asleep_late(client, thread, lambda: os.kill(client.pid, signal.SIGTERM))
    client.close()
    assert not list((Path(marked.env["BULKHEAD_HOME"]) / "bulkhead" / "leases").iterdir())


def test_the_kernels_word_on_pressure_is_understood(tmp_path):
    assert 0.0 <= waited_for_memory("/proc/pressure/memory") <= 100.0
    file = tmp_path / "pressure"
    for text, expected in (
        (
            "some avg10=31.25 avg60=2.00 avg300=0.10 total=9\nfull avg10=99.00 avg60=0 avg300=0 total=0\n",
            31.25,
        ),
        ("", 0.0),
        ("some avg10=much\n", 0.0),
    ):
        file.write_text(text)
        assert waited_for_memory(str(file)) == expected
    assert waited_for_memory(str(tmp_path / "none")) == 0.0


@pytest.mark.parametrize("reason", ["budget", "pressure"])
def test_idle_workers_end_early_when_memory_is_short(server, tmp_path, reason):
    (tmp_path / "pressure").write_text("some avg10=55.00 avg60=20.00 avg300=5.00 total=1\n")
    switches = {"budget": "memory_budget_mib=1", "pressure": f"memory_pressure_file={tmp_path}/pressure"}
    client = server("-c", f"bulkhead.{switches[reason]}")
    threads = [client.start_thread() for _ in range(3)]
    for thread in threads:
        client.turn(thread, "!say hello")
    deadline = time.monotonic() + PATIENCE_S
    while not any(client.row(thread)["state"] == "hibernated" for thread in threads):
        assert time.monotonic() < deadline
        time.sleep(LOOK_S)
    assert client.row(threads[0])["state"] == "hibernated"  # the longest idle first
