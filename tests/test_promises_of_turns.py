"""Promises 1 to 4, 8 and 9: events, turns, commands and logs over the deaths of workers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from promise_scenes import MANY_DEATHS, STEADY, STEADY_SCRIPT, ledger_of
from protocol_client import RpcError
from running_server import (
    LOOK_S,
    PATIENCE_S,
    await_ends,
)
from turn_ledger import TurnLedger, words

from config.flags import Flags
from protocol.link import Adopt, Command, Record, pack_record
from protocol.link_calls import Authorization
from protocol.rpc import notification_line
from rollouts.ids import new_id
from supervisor import obituary
from supervisor.configuration import Configuration
from workers.thread import ThreadService


def user_texts(request):
    return [
        part["text"]
        for item in request.body["input"]
        if item.get("role") == "user"
        for part in item["content"]
        if "text" in part
    ]


def test_1_every_event_once_and_in_order_over_any_number_of_deaths(server):
    client = server(*MANY_DEATHS)
    dying, living = client.start_thread(), client.start_thread()
    steady = client.begin_turn(living, STEADY_SCRIPT)
    ended = []
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM):
        since = client.mark()
        turn = client.begin_turn(dying, STEADY_SCRIPT)
        client.first_delta(dying, since=since)
        client.kill_worker(dying, number)
        assert client.end_of(turn)["status"] == "failed"
        ended.append(turn)
    last = client.begin_turn(dying, "!stream 100")
    client.end_of(last)
    assert client.end_of(steady)["status"] == "completed"

    ledger = TurnLedger()
    ledger.expect(last, words(100))
    for turn in (*ended, steady):
        ledger.expect(turn, words(STEADY))
    for line in list(client.lines):
        ledger.take(line)
    ledger.settle()
    assert [ledger.turns[turn].said != "" for turn in ended] == [True] * 3
    assert ledger.turns[steady].said == words(STEADY)


def test_2_a_turn_whose_worker_dies_fails_once_with_the_reason_and_is_not_run_again(server, model):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "The first turn.\n!say hello")
    since = client.mark()
    turn = client.begin_turn(thread, "The second turn.\n!stream 400 0.01")
    client.first_delta(thread, since=since)
    pid = client.kill_worker(thread)

    error = client.wait_for("error", since=since).params
    end = client.end_of(turn)
    assert end["status"] == "failed"
    assert "SIGKILL" in end["error"]["message"]
    assert error["error"]["message"] == end["error"]["message"]
    assert (error["threadId"], error["turnId"], error["willRetry"]) == (thread, turn, False)
    assert str(pid) in end["error"]["additionalDetails"]

    told = client.turn(thread, "The third turn.\n!say hello again")
    assert told[-1]["params"]["turn"]["status"] == "completed"
    _, second, third = model.requests()
    assert "The second turn.\n!stream 400 0.01" in user_texts(second)
    texts = [text.partition("\n")[0] for text in user_texts(third) if text.startswith("The ")]
    assert texts == ["The first turn.", "The second turn.", "The third turn."]
    assert any("hello" in str(item) for item in third.body["input"] if item.get("role") == "assistant")
    stored = client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"]["turns"]
    assert [turn["status"] for turn in stored] == ["completed", "failed", "completed"]
    assert stored[1]["error"]["message"] == end["error"]["message"]
    assert client.ends_of(turn) == [end]


def test_2_a_turn_that_is_interrupted_before_it_could_begin_ends_all_the_same(server):
    client = server()
    thread = client.start_thread()
    os.kill(client.worker(thread), signal.SIGSTOP)
    start = client.send_turn(thread, "!stream 5")
    interrupt = client.start_request("turn/interrupt", {"threadId": thread, "turnId": ""})
    client.request("model/list", {})  # both have been passed on: requests are read in their order
    os.kill(client.worker(thread), signal.SIGCONT)
    turn = client.result(start)["turn"]["id"]
    client.result(interrupt)
    assert client.end_of(turn)["status"] == "interrupted"
    assert client.turn(thread, "!say on we go")[-1]["params"]["turn"]["status"] == "completed"
    ledger_of(client).settle()


def test_3_a_command_that_its_worker_never_took_is_run_once_by_the_next(server, workspace):
    client = server()
    thread = client.start_thread()
    os.kill(client.worker(thread), signal.SIGSTOP)  # so it certainly dies before it takes the command
    start = client.send_turn(thread, "!run echo ran >> ran.txt\n!then\n!say done")
    client.request("model/list", {})
    client.kill_worker(thread)
    turn = client.result(start)["turn"]["id"]
    assert client.end_of(turn)["status"] == "completed"
    assert (workspace / "ran.txt").read_text() == "ran\n"
    assert client.row(thread)["epoch"] == 2
    ledger_of(client).settle()


def test_3_a_command_is_never_run_twice_whenever_its_worker_dies(server, workspace):
    client = server(*MANY_DEATHS)
    threads = [client.start_thread() for _ in range(12)]
    workers = [client.worker(thread) for thread in threads]
    os.kill(workers[0], signal.SIGSTOP)  # so one certainly dies before it takes its command
    starts = []
    for number, (thread, worker) in enumerate(zip(threads, workers, strict=True)):
        script = f"!run echo ran >> ran{number}.txt\n!then\n!say done"
        starts.append(client.send_turn(thread, script))
        time.sleep(number * 0.002)  # from "not taken yet" to "the command runs"
        os.kill(worker, signal.SIGKILL)
    turns = [client.result(start)["turn"]["id"] for start in starts]
    statuses = [client.end_of(turn)["status"] for turn in turns]
    for number, status in enumerate(statuses):
        file = workspace / f"ran{number}.txt"
        runs = file.read_text().count("ran") if file.exists() else 0
        assert runs == 1 if status == "completed" else runs <= 1, (number, status)
    assert "completed" in statuses
    ledger_of(client).settle()


def test_4_what_a_client_saw_is_stored_and_a_torn_end_of_the_log_is_cut(server):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, "!run echo seen\n!then\n!stream 400 0.01")
    client.first_delta(thread)
    pid = client.worker(thread)
    os.kill(pid, signal.SIGSTOP)
    [log] = Path(client.record.directory, "events").glob(f"{thread}.*")
    with log.open("ab") as file:  # a write that SIGKILL cut off in the middle
        file.write(pack_record(Record.EVENTS, 0, b'{"method":"item/agentMessage/delta","params":{}}\n')[:-7])
    os.kill(pid, signal.SIGKILL)
    assert client.end_of(turn)["status"] == "failed"

    ledger = ledger_of(client)
    assert words(400).startswith(ledger.turns[turn].said)
    seen = [
        line.params["item"]["id"]
        for line in client.received("item/completed")
        if line.params["item"]["type"] == "commandExecution"
    ]
    [stored] = client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"]["turns"]
    assert seen
    assert [item["id"] for item in stored["items"] if item["type"] == "commandExecution"] == seen
    assert not log.exists()


def test_4_what_a_worker_said_but_could_not_send_is_taken_from_its_log(server):
    client = server("-c", "bulkhead.credit_bytes=1")  # one piece at a time may be on its way
    thread = client.start_thread()
    pid = client.worker(thread)
    [log] = Path(client.record.directory, "events").glob(f"{thread}.*")
    os.kill(pid, signal.SIGSTOP)
    start = client.send_turn(thread, "!say never asked")
    client.request("model/list", {})  # the command has been passed on
    os.kill(client.pid, signal.SIGSTOP)  # nobody gives credit any more
    try:
        os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + PATIENCE_S
        while b"item/completed" not in log.read_bytes():
            assert time.monotonic() < deadline
            time.sleep(LOOK_S)
        await_ends([pid], ended=lambda: os.kill(pid, signal.SIGKILL))
    finally:
        os.kill(client.pid, signal.SIGCONT)
    turn = client.result(start)["turn"]["id"]
    assert client.end_of(turn)["status"] == "failed"
    ledger_of(client).settle()
    told = [line.method for line in client.received() if line.method and turn in str(line.params)]
    assert told == ["turn/started", "item/started", "item/completed", "error", "turn/completed"]


RECORDS = st.lists(
    st.tuples(
        st.sampled_from([Record.EVENTS, Record.REPLY, Record.STATUS]),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=60),
    ),
    max_size=12,
)


@given(spoken=RECORDS, data=st.data())
def test_4_any_cut_of_a_log_yields_whole_records_from_where_the_client_is(spoken, data):
    whole = [pack_record(*record) for record in spoken]
    rotated_at = data.draw(st.integers(0, len(whole)), label="records before the log was begun anew")
    base = sum(map(len, whole[:rotated_at]))
    log = b"".join(whole[rotated_at:])
    if rotated_at:
        rotation = pack_record(Record.ROTATED, base, b"")
        whole.insert(rotated_at, rotation)
        log = rotation + log
    # The client has everything that was in an earlier log, and whole records of this one.
    heard = data.draw(st.integers(rotated_at, len(whole)), label="records heard")
    cut = data.draw(st.integers(0, len(log)), label="cut")
    received = sum(map(len, whole[:heard]))

    told = [pack_record(kind, key, body) for kind, key, body, _ in obituary.unheard(log[:cut], received)]
    sizes = [size for *_, size in obituary.unheard(log[:cut], received)]

    assert told == whole[heard : heard + len(told)]
    assert sizes == [len(record) for record in told]
    rest = cut - (received - base)
    missing = whole[heard + len(told) : heard + len(told) + 1]
    assert not missing or sum(sizes) + len(missing[0]) > rest


def test_8_one_incarnation_writes_a_thread(server):
    first, second = server(*MANY_DEATHS), server()
    thread = first.start_thread()
    first.turn(thread, "!say one")
    for number in (2, 3):
        with pytest.raises(RpcError, match="already has an active writer"):
            second.request("thread/resume", {"threadId": thread})
        first.kill_worker(thread)
        first.turn(thread, f"!say {number}")
    with pytest.raises(RpcError, match="already has an active writer"):
        second.request("thread/resume", {"threadId": thread})
    assert first.row(thread)["epoch"] == 3
    first.close()
    resumed = second.request("thread/resume", {"threadId": thread})["thread"]
    assert [turn["status"] for turn in resumed["turns"]] == ["completed"] * 3


class RecordingLink:
    """A worker's link that only remembers what was said, in its order."""

    congested = False

    def __init__(self):
        self.told = []

    def say(self, kind, key, payload):
        self.told.append((kind, payload))

    def notify(self, method, params):
        self.say(Record.EVENTS, 0, notification_line(method, params))

    async def call(self, payload):
        return msgspec.json.encode(Authorization())


def test_9_a_turn_is_on_the_disk_before_its_end_is_told(home, workspace, monkeypatch):
    link = RecordingLink()
    monkeypatch.setattr(os, "fdatasync", lambda fd: link.told.append(("synced", os.pread(fd, 1 << 20, 0))))
    configuration = Configuration(str(home), Flags())
    adopt = Adopt(role="thread", thread_id=new_id(), home=str(home), layers=configuration.layers)

    async def live():
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        service = ThreadService(adopt, link, loop, ended.set_result)
        text = {"type": "text", "text": "!say kept"}
        calls = {
            "thread/start": {"cwd": str(workspace)},
            "turn/start": {"threadId": adopt.thread_id, "input": [text]},
        }
        for key, (method, params) in enumerate(calls.items()):
            raw = msgspec.Raw(msgspec.json.encode(params))
            service.command(key, Command(id=msgspec.Raw(b"1"), method=method, params=raw))
        while not any(kind == Record.ENDED for kind, _ in link.told):  # noqa: ASYNC110 - the link is a plain list
            await asyncio.sleep(LOOK_S)
        service.stop(b"{}")
        assert await ended == 0

    asyncio.run(asyncio.wait_for(live(), PATIENCE_S))
    kinds = [kind for kind, _ in link.told]
    synced = kinds.index("synced")
    end = kinds.index(Record.ENDED)
    assert synced < end
    [rollout] = (home / "sessions").glob("*/*/*/*.jsonl")
    assert link.told[synced][1] == rollout.read_bytes()
    assert b"task_complete" in link.told[synced][1]
    assert b"turn/completed" in link.told[end][1]
