"""What the supervisor promises, each promise by its number; see docs/architecture.md."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_client import RpcError
from running_server import (
    LOOK_S,
    PATIENCE_S,
    RunningServer,
    await_ends,
    children,
    command_line,
    resident_kib,
)
from turn_ledger import TurnLedger, words

from config.flags import Flags
from protocol.link import Adopt, Command, Record, pack_record
from protocol.link_calls import Authorization
from protocol.rpc import notification_line
from rollouts.ids import new_id
from supervisor import obituary
from supervisor.configuration import Configuration
from supervisor.restarts import BURST, RestartRation
from workers.thread import ThreadService

QUICK_HANGS = ("-c", "bulkhead.hang_silence_ms=300", "-c", "bulkhead.hang_grace_ms=300")
MANY_DEATHS = ("-c", "bulkhead.restart_limit=1000")
STEADY = 400
STEADY_SCRIPT = f"!stream {STEADY} 0.004"
"""A stream that lasts about 2 s: long enough for whatever is done to others meanwhile."""


def ledger_of(client):
    ledger = TurnLedger()
    for line in list(client.lines):
        ledger.take(line)
    return ledger


def await_file(path: Path) -> str:
    """The text of a file that a command writes, once it ends with a newline."""
    deadline = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(LOOK_S)
    return path.read_text()


def await_sleepers(marked, count):
    """The processes that run `sleep`, when there are so many: a shell goes on before what it forked has become one."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = [pid for pid in marked.processes() if command_line(pid).startswith(b"sleep")]
        if len(found) == count:
            return found
        assert time.monotonic() < deadline, f"{len(found)} processes sleep, not {count}"
        time.sleep(LOOK_S)


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


def test_11_a_front_that_dies_while_it_starts_workers_leaves_nothing(marked, workspace):
    for pause in (0.0, 0.3, 0.45, 0.5, 0.55, 0.6, 0.7):
        with RunningServer(marked=marked, cwd=workspace) as client:
            client.start_request("initialize", {"clientInfo": {"name": "test", "version": "1"}})
            for _ in range(20):
                client.start_request("thread/start", {"cwd": str(workspace)})
            time.sleep(pause)
            everything = marked.processes()
            os.kill(client.pid, signal.SIGKILL)
            await_ends(everything | marked.processes())
            assert not marked.processes()


SLOW_START = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "workers.zygote":
            with open({reached!r}, "w") as file:
                print("here", file=file)
            time.sleep({seconds})

sys.meta_path.insert(0, Slow())
"""


def test_11_a_front_that_dies_while_a_zygote_starts_leaves_nothing(server, marked, tmp_path):
    first, reached = tmp_path / "first", tmp_path / "reached"
    first.mkdir()
    marked.env["PYTHONPATH"] = f"{first}{os.pathsep}{marked.env['PYTHONPATH']}"
    client = server()
    client.start_thread()
    (first / "sitecustomize.py").write_text(SLOW_START.format(reached=str(reached), seconds=10 * PATIENCE_S))
    os.kill(client.zygote, signal.SIGKILL)
    await_file(reached)
    await_ends(marked.processes(), ended=lambda: os.kill(client.pid, signal.SIGKILL))
    assert not marked.processes()


def test_11_when_the_front_dies_nothing_is_left(server, marked, workspace):
    client = server()
    threads = [client.start_thread() for _ in range(3)]
    for number, thread in enumerate(threads):
        script = f"!run setsid sleep 1000 & sleep 1000 & echo $! > pid{number}.txt; wait"
        client.begin_turn(thread, script)
    for number in range(3):
        await_file(workspace / f"pid{number}.txt")
    client.kill_worker(threads[0], signal.SIGSTOP)  # it cannot notice that the front is gone
    everything = marked.processes()
    sleepers = [pid for pid in everything if b"sleep" in command_line(pid)]
    assert len(sleepers) >= 6
    assert {client.worker(thread) for thread in threads} < everything
    assert client.zygote in everything
    await_ends(everything, ended=lambda: os.kill(client.pid, signal.SIGKILL))
    assert not marked.processes()


def test_11_the_death_of_the_zygote_harms_no_thread(server, marked):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, STEADY_SCRIPT)
    client.first_delta(thread)
    worker, zygote = client.worker(thread), client.zygote
    await_ends([zygote], ended=lambda: os.kill(zygote, signal.SIGKILL))
    another = client.start_thread()
    assert client.turn(another, "!say hello")[-1]["params"]["turn"]["status"] == "completed"
    assert client.end_of(turn)["status"] == "completed"
    assert ledger_of(client).turns[turn].said == words(STEADY)
    assert client.worker(thread) == worker
    assert client.zygote != zygote


def test_11_threads_that_wait_for_a_worker_get_one_though_zygotes_die(server):
    client = server("-c", "bulkhead.parked_workers=0")
    for _ in range(3):
        zygote = client.zygote
        os.kill(zygote, signal.SIGKILL)
        starts = [client.start_request("thread/start", {"cwd": str(client.cwd)}) for _ in range(12)]
        await_ends([zygote])
        for start in starts:
            assert client.result(start)["thread"]["id"]


def test_11_and_13_what_a_worker_without_its_zygote_left_behind_is_ended(server, marked, workspace):
    client = server()
    thread = client.start_thread()
    client.begin_turn(thread, "!run setsid sleep 1000 & sleep 1000 & echo $! > pid.txt; wait")
    await_file(workspace / "pid.txt")
    zygote = client.zygote
    await_ends([zygote], ended=lambda: os.kill(zygote, signal.SIGKILL))
    sleepers = [pid for pid in marked.processes() if b"sleep" in command_line(pid)]
    assert len(sleepers) >= 3
    await_ends(sleepers, ended=lambda: client.kill_worker(thread))


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


@pytest.mark.parametrize("sandbox", ["danger-full-access", "workspace-write"])
def test_13_an_interrupted_turn_leaves_no_process(server, marked, workspace, sandbox):
    client = server()
    thread = client.start_thread(sandbox=sandbox)
    turn = client.begin_turn(thread, "!run sleep 1000 & setsid sleep 1000 & echo started > on.txt; wait")
    await_file(workspace / "on.txt")
    sleepers = await_sleepers(marked, 2)
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert client.end_of(turn)["status"] == "interrupted"
    worker = client.worker(thread)
    assert not children(worker)
    assert not set(sleepers) & marked.processes()
    assert (
        client.turn(thread, "!run echo on we go\n!then\n!say done")[-1]["params"]["turn"]["status"]
        == "completed"
    )


@pytest.mark.parametrize("sandbox", ["danger-full-access", "workspace-write"])
def test_13_a_killed_worker_leaves_no_process(server, marked, workspace, sandbox):
    client = server()
    thread = client.start_thread(sandbox=sandbox)
    turn = client.begin_turn(thread, "!run sleep 1000 & setsid sleep 1000 & echo started > on.txt; wait")
    await_file(workspace / "on.txt")
    sleepers = [pid for pid in marked.processes() if b"sleep" in command_line(pid)]
    assert len(sleepers) >= 2
    await_ends(sleepers, ended=lambda: client.kill_worker(thread))
    assert client.end_of(turn)["status"] == "failed"


def test_14_the_next_server_ends_what_the_one_before_left_by_its_records(server, marked, workspace):
    client = server()
    thread = client.start_thread()
    client.begin_turn(thread, "!run setsid sleep 1000 & echo $! > pid.txt; wait")
    await_file(workspace / "pid.txt")
    client.kill_all_but_commands()
    records = {int(file.name) for file in (Path(client.record.directory) / "processes").iterdir()}
    # Whoever left the session of what was recorded cannot be known by records.
    left = [pid for pid in marked.processes() if os.getsid(pid) in records]
    assert left
    started = []
    await_ends(left, ended=lambda: started.append(server()))
    events = Path(started[0].operate("events")["path"]).read_text()
    reaped = [event for event in map(msgspec.json.decode, events.splitlines()) if event["event"] == "reaped"]
    assert len(reaped) == 1
    assert set(left) <= set(reaped[0]["pids"])
    started[0].request("thread/resume", {"threadId": thread})
