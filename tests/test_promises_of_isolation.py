"""Promises 5 to 7, 10 and 12: threads, slow clients, hangs, quarantine, limits and restarts."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from promise_scenes import MANY_DEATHS, STEADY, STEADY_SCRIPT, ledger_of
from protocol_client import RpcError
from running_server import (
    LOOK_S,
    PATIENCE_S,
    await_ends,
    resident_kib,
)
from turn_ledger import TurnLedger, words

from supervisor.restarts import BURST, RestartRation

QUICK_HANGS = ("-c", "bulkhead.hang_silence_ms=300", "-c", "bulkhead.hang_grace_ms=300")


def test_5_what_happens_to_other_threads_changes_nothing_for_a_quiet_one(server, workspace):
    client = server(*QUICK_HANGS, *MANY_DEATHS)
    quiet, killed, hung, flood = (client.start_thread() for _ in range(4))
    steady = client.begin_turn(quiet, STEADY_SCRIPT)
    others = {thread: client.begin_turn(thread, STEADY_SCRIPT) for thread in (killed, hung)}
    others[flood] = client.begin_turn(
        flood, "!run head -c 30000000 /dev/zero | tr '\\0' x\n!then\n!stream 3000"
    )
    client.first_delta(killed)
    client.kill_worker(killed)
    client.first_delta(hung)
    client.kill_worker(hung, signal.SIGSTOP)

    assert client.end_of(steady)["status"] == "completed"
    ends = {thread: client.end_of(turn)["status"] for thread, turn in others.items()}
    assert ends == {killed: "failed", hung: "failed", flood: "completed"}
    ledger = ledger_of(client)
    ledger.settle()
    assert ledger.turns[steady].said == words(STEADY)
    assert ledger.turns[others[flood]].said == words(3000)
    assert [client.row(thread)["epoch"] for thread in (quiet, flood, killed)] == [1, 1, 2]


READERS = 30

WORDS_EACH = 3000

CREDIT = 32 * 1024

RSS_BUDGET_KIB = READERS * 64 * 2 + 4096
"""What a thread may cost (64 KiB), and the same for frames that are lines in the outbox by now; 4 MiB are for what is being
written, for what the allocator keeps, and for the interpreter. Without bounds all that is said would be there: 20 MiB."""


def test_5_and_10_a_client_that_does_not_read_costs_a_window_a_thread_and_loses_nothing(server):
    client = server()
    threads = [client.start_thread() for _ in range(READERS)]
    for thread in threads:
        client.turn(thread, "!say warm")
    before = resident_kib(client.pid)
    client.stop_reading()
    for thread in threads:
        client.send_turn(thread, f"!stream {WORDS_EACH}")
    logs = Path(client.record.directory, "events")
    deadline = time.monotonic() + PATIENCE_S
    # A worker stops when its window is in its log, or more: then the client's pipe is what it waits for.
    while sum(file.stat().st_size >= CREDIT for file in logs.iterdir()) < READERS:
        assert time.monotonic() < deadline, [file.stat().st_size for file in logs.iterdir()]
        time.sleep(LOOK_S)
    stalled = resident_kib(client.pid)
    client.operate("ps")  # operators are not held up
    client.read_again()

    ledger = TurnLedger()
    peak = stalled
    for line in client.each():
        ledger.take(line)
        if line.method == "turn/completed":
            peak = max(peak, resident_kib(client.pid))
            if ledger.statuses()["completed"] == 2 * READERS:
                break
    ledger.settle()
    assert Counter(entry.said for entry in ledger.turns.values()) == {
        "warm": READERS,
        words(WORDS_EACH): READERS,
    }
    assert peak - before < RSS_BUDGET_KIB, (
        f"{stalled - before} KiB while stalled, {peak - before} KiB at most"
    )


def test_6_a_worker_that_hangs_in_a_turn_is_found_and_ended(server):
    client = server(*QUICK_HANGS)
    thread, idle = client.start_thread(), client.start_thread()
    asleep = client.worker(idle)
    os.kill(asleep, signal.SIGSTOP)  # nobody asks an idle worker for a sign of life
    turn = client.begin_turn(thread, STEADY_SCRIPT)
    client.first_delta(thread)
    pid = client.kill_worker(thread, signal.SIGSTOP)
    end = client.end_of(turn)
    assert end["status"] == "failed"
    assert "hung" in end["error"]["message"]
    assert Path(client.record.directory, "stacks", str(pid)).exists()
    assert client.turn(thread, "!say on we go")[-1]["params"]["turn"]["status"] == "completed"
    assert client.worker(thread) != pid

    assert client.worker(idle) == asleep
    os.kill(asleep, signal.SIGCONT)
    assert client.turn(idle, "!say well slept")[-1]["params"]["turn"]["status"] == "completed"
    assert client.row(idle)["epoch"] == 1


def test_6_a_hang_leaves_a_stack_dump_and_what_it_held_up_is_done_by_the_next(server):
    client = server(*QUICK_HANGS)
    thread = client.start_thread()
    directory = Path(client.record.directory)
    # Opening a FIFO that nobody reads blocks: the next incarnation hangs before its first word.
    fifo = directory / "events" / f"{thread}.1.2"
    os.mkfifo(fifo)
    client.kill_worker(thread)
    start = client.send_turn(thread, "!say done")
    pid = client.await_row(thread, lambda row: row["epoch"] == 2 and row["pid"])["pid"]
    await_ends([pid])
    dump = (directory / "stacks" / str(pid)).read_text()
    assert "most recent call first" in dump
    assert "eventlog.py" in dump
    while True:  # the front wants to read the log that the dead worker left, and waits for a writer
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            break
        except OSError:
            time.sleep(LOOK_S)
    assert client.end_of(client.result(start)["turn"]["id"])["status"] == "completed"
    assert client.row(thread)["epoch"] == 3
    assert "hung" in client.row(thread)["lastEnd"]


def test_7_a_thread_whose_worker_keeps_dying_is_quarantined_alone_until_released(server):
    client = server("-c", "bulkhead.restart_limit=2")
    poisoned, healthy = client.start_thread(), client.start_thread()
    client.turn(poisoned, "!say before")
    for epoch in (1, 2, 3):
        client.await_row(poisoned, lambda row, epoch=epoch: row["epoch"] == epoch and row["state"] == "idle")
        client.kill_worker(poisoned)
    assert client.await_row(poisoned, lambda row: row["state"] == "quarantined")["pid"] is None

    for method, params in (("turn/start", {"input": []}), ("thread/read", {}), ("thread/resume", {})):
        with pytest.raises(RpcError, match="quarantined") as refusal:
            client.request(method, {"threadId": poisoned, **params})
        assert f"bulkhead restart {poisoned}" in refusal.value.message
        assert "SIGKILL" in refusal.value.message
    assert client.turn(healthy, "!say fine")[-1]["params"]["turn"]["status"] == "completed"

    client.operate("restart", thread=poisoned)
    assert client.turn(poisoned, "!say after")[-1]["params"]["turn"]["status"] == "completed"
    stored = client.request("thread/read", {"threadId": poisoned, "includeTurns": True})["thread"]["turns"]
    assert len(stored) == 2


def test_7_ends_that_an_operator_wanted_do_not_count(server):
    client = server("-c", "bulkhead.restart_limit=0")
    thread = client.start_thread()
    for epoch in (1, 2, 3):
        since = client.mark()
        turn = client.begin_turn(thread, STEADY_SCRIPT)
        client.first_delta(thread, since=since)
        assert client.operate("kill", thread=thread)["epoch"] == epoch
        assert "killed by operator" in client.end_of(turn)["error"]["message"]
        client.await_row(thread, lambda row, epoch=epoch: row["epoch"] == epoch + 1)
    assert client.operate("restart", thread=thread)["epoch"] == 5
    assert client.turn(thread, "!say still here")[-1]["params"]["turn"]["status"] == "completed"


def test_10_a_request_beyond_the_limits_of_the_system_is_answered_with_a_refusal(server):
    client = server("-c", "bulkhead.parked_workers=0")
    living = client.start_thread()
    resource.prlimit(client.zygote, resource.RLIMIT_NPROC, (1, 1))
    if os.getuid() == 0:  # the limit does not bind root: no descriptor for the next worker is as good
        fds = len(os.listdir(f"/proc/{client.zygote}/fd"))
        resource.prlimit(client.zygote, resource.RLIMIT_NOFILE, (fds, fds))
    with pytest.raises(RpcError) as refusal:
        client.start_thread()
    assert refusal.value.code == -32001
    assert refusal.value.data["server_overloaded"]
    assert client.turn(living, "!say fine")[-1]["params"]["turn"]["status"] == "completed"


def test_12_after_a_mass_crash_workers_come_back_at_a_pace_and_live_turns_go_on(server):
    client = server()
    living = client.start_thread()
    doomed = [client.start_thread() for _ in range(40)]
    pids = [client.worker(thread) for thread in doomed]
    steady = client.begin_turn(living, STEADY_SCRIPT)
    client.first_delta(living)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for thread in doomed:
        client.await_row(thread, lambda row: row["epoch"] == 2 and row["state"] == "idle")
    assert client.end_of(steady)["status"] == "completed"
    ledger = ledger_of(client)
    ledger.settle()
    assert ledger.turns[steady].said == words(STEADY)


def test_12_restarts_beyond_a_burst_wait_for_their_turn():
    async def crash():
        ration, begun = RestartRation(), []
        for number in range(100):
            ration.run(lambda number=number: begun.append(number))
        at_once, waiting = len(begun), ration.waiting
        while ration.waiting:  # noqa: ASYNC110 - it has no event, nobody else waits for it
            await asyncio.sleep(0.001)
        return at_once, waiting, begun

    at_once, waiting, begun = asyncio.run(asyncio.wait_for(crash(), PATIENCE_S))
    assert (at_once, waiting) == (BURST, 100 - BURST)
    assert begun == list(range(100))
