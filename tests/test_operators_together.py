"""Several operators at one thread, and operators at threads that are about to become something else."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from running_server import await_ends, children, state_of

from protocol import rpc
from supervisor import exit_codes

WAITING = "!run while [ ! -e go.txt ]; do sleep 0.05; done\n!then\n!say done"
SLOW_RESTARTS = ("-c", "bulkhead.restart_backoff_ms=600000", "-c", "bulkhead.restart_backoff_cap_ms=600000")


class Operators:
    """Each does one thing in a thread of its own; `outcomes` are there when all are done."""

    def __init__(self, *works):
        self.outcomes = []
        self._threads = [threading.Thread(target=self._do, args=(work,)) for work in works]
        for thread in self._threads:
            thread.start()

    def _do(self, work):
        try:
            self.outcomes.append(work())
        except rpc.RpcError as refusal:
            self.outcomes.append(refusal)

    def done(self):
        for thread in self._threads:
            thread.join()
        return self.outcomes


def events(client, name):
    lines = (Path(client.record.directory) / "events.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] == name]


def order(client, *names):
    lines = (Path(client.record.directory) / "events.jsonl").read_text().splitlines()
    return [event["event"] for line in lines if (event := json.loads(line))["event"] in names]


def test_two_drains_of_one_thread_end_together_and_clients_hear_of_it_once(server, workspace):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, WAITING)
    operators = Operators(*[lambda: client.operate("drain", thread=thread)] * 2)
    client.await_row(thread, lambda _: len(events(client, "drain")) == 2)
    (workspace / "go.txt").touch()
    assert client.end_of(turn)["status"] == "completed"
    assert operators.done() == [{"done": [thread], "interrupted": [], "kept": []}] * 2
    told = [line.params["status"]["type"] for line in client.received("thread/status/changed")]
    assert told.count("notLoaded") == 1


def test_a_drain_that_is_taken_back_ends_and_says_so(server, bulkhead, workspace):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, WAITING)
    operators = Operators(lambda: bulkhead("drain", "--all", "--json"))
    client.await_row(thread, lambda row: row["why"] == "draining: no new turns")
    assert bulkhead("drain", "--all", "--cancel")[0] == exit_codes.OK
    [(code, out, error)] = operators.done()
    assert (code, json.loads(out)) == (exit_codes.FAILED, {"done": [], "interrupted": [], "kept": [thread]})
    assert "taken back" in error
    (workspace / "go.txt").touch()
    assert client.end_of(turn)["status"] == "completed"


def test_a_thread_that_many_pause_and_resume_stands_still_or_does_not_as_it_says(server):
    client = server()
    thread = client.start_thread()
    # To find so many takes long enough for others to come in between.
    client.begin_turn(thread, "!run for one in $(seq 40); do sleep 1000 & done; wait")
    client.await_row(thread, lambda row: row["processes"] > 40)
    worker = client.worker(thread)
    for _ in range(5):
        Operators(
            *[lambda: client.operate("pause", thread=thread), lambda: client.operate("resume", thread=thread)]
            * 5
        ).done()
        states = {state_of(pid) for pid in (worker, *children(worker))}
        assert (states == {"T"}) == client.row(thread)["paused"]
    assert client.row(thread)["epoch"] == 1


def test_a_worker_that_is_about_to_end_is_not_paused(server):
    client = server()
    thread = client.start_thread()
    client.operate("pause", thread=thread)
    worker = client.worker(thread)
    outcomes = []
    await_ends(
        [worker],
        ended=lambda: outcomes.extend(
            Operators(
                lambda: client.operate("restart", thread=thread),
                *[lambda: client.operate("pause", thread=thread)] * 10,
            ).done()
        ),
    )
    assert {"thread": thread, "pid": client.worker(thread), "epoch": 2} in outcomes
    assert not events(client, "worker-ended")[0]["how"].startswith(
        "stopped ("
    )  # it was not killed for being late


def wait_for_its_restart(client, thread):
    """Two deaths, so that the next worker comes late."""
    client.kill_worker(thread)
    client.await_row(thread, lambda row: row["epoch"] == 2 and row["state"] == "idle")
    client.kill_worker(thread)
    return client.await_row(thread, lambda row: row["state"] == "dead" and row["why"])


def test_restart_does_not_wait_for_a_restart(server, bulkhead):
    client = server(*SLOW_RESTARTS)
    thread = client.start_thread()
    assert "next start in" in wait_for_its_restart(client, thread)["why"]
    code, _, error = bulkhead("restart", thread)
    assert (code, error) == (exit_codes.OK, "")
    assert client.turn(thread, "!say back")[-1]["params"]["turn"]["status"] == "completed"
    assert client.row(thread)["epoch"] == 3


def test_a_thread_that_waits_for_its_restart_can_be_drained(server):
    client = server(*SLOW_RESTARTS)
    thread = client.start_thread()
    client.turn(thread, "!say stored")
    wait_for_its_restart(client, thread)
    request = client.send_turn(thread, "!say later")
    client.await_row(thread, lambda _: client.operate("inspect", thread=thread)["requestsWaiting"])
    told = client.operate("drain", thread=thread, deadline=0)
    assert told == {"done": [], "interrupted": [thread], "kept": []}
    with pytest.raises(Exception, match="thread not found"):
        client.result(request)
    client.request("thread/resume", {"threadId": thread})
    assert client.turn(thread, "!say back")[-1]["params"]["turn"]["status"] == "completed"


@pytest.mark.parametrize("operation", ["quarantine", "restart"])
def test_a_release_is_written_down_before_what_follows_from_it(server, operation):
    client = server("-c", "bulkhead.restart_limit=0")
    thread = client.start_thread()
    client.kill_worker(thread)
    client.await_row(thread, lambda row: row["state"] == "quarantined")
    client.operate(operation, thread=thread)
    client.await_row(thread, lambda row: row["state"] == "idle")
    names = order(client, "worker-adopted", "quarantined", "released")
    assert names == ["worker-adopted", "quarantined", "released", "worker-adopted"]


def test_many_who_ask_for_a_stack_get_one_each(server):
    client = server()
    thread = client.start_thread()
    told = Operators(*[lambda: client.operate("stack", thread=thread)] * 5).done()
    assert [one["stack"].count("most recent call first") for one in told] == [1] * 5
    client.operate("pause", thread=thread)
    with pytest.raises(rpc.RpcError, match="paused"):
        client.operate("stack", thread=thread)
    client.operate("resume", thread=thread)
    assert client.operate("stack", thread=thread)["stack"].count("most recent call first") == 1


def test_a_drain_that_was_taken_back_is_all_that_is_written_down_of_it(server):
    client = server()
    client.operate("drain", all=True, cancel=True)
    assert order(client, "drain", "drained", "drain-cancelled") == ["drain-cancelled"]


def test_a_replacement_hands_out_no_worker_that_it_ends(server):
    client = server("-c", "bulkhead.restart_limit=0", "-c", "bulkhead.parked_workers=16")
    thread = client.start_thread()
    for _ in range(4):
        # Asleep already after the first, so that the next two only end workers that wait for a thread.
        Operators(*[lambda: client.operate("replace")] * 3).done()
        assert client.turn(thread, "!say on")[-1]["params"]["turn"]["status"] == "completed"
    assert {event["reason"] for event in events(client, "worker-ended")} == {"hibernated"}


def test_replacements_leave_no_files_of_whom_they_ended(server):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say stored")
    for _ in range(3):
        client.operate("replace")
    client.turn(thread, "!say awake")
    directory = Path(client.record.directory)

    def of_the_dead():
        files = [*(directory / "stacks").iterdir(), *(directory / "processes").iterdir()]
        return [file for file in files if not Path("/proc", file.name).exists()]

    client.await_row(thread, lambda _: not of_the_dead())
