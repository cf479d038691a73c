"""Over a limit only that thread ends, and the reason names the limit."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from protocol_client import RpcError

from config.settings import Limits
from protocol.link import Adopt
from supervisor.limits import LimitWatch
from supervisor.loaded import Incarnation, LoadedThread, Turn
from supervisor.oom import OomWatch

HUNGRY = (
    "!run python3 -c 'import time; x = bytearray(); "
    "[(x.extend(bytes(10 << 20)), time.sleep(0.05)) for _ in range(15)]; time.sleep(1000)'"
)
GREEDY = "!run python3 -c 'bytearray(600 << 20)' || echo refused\n!then\n!say it goes on"
BUSY = "!run while :; do :; done"
CASES = {
    "memory_mib": (100, HUNGRY),
    "processes": (6, "!run for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait"),
    "turn_cpu_s": (0.2, BUSY),
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


def test_the_kernel_refuses_what_grows_faster_than_anybody_looks(server):
    """Without a control group: by RLIMIT_DATA, of each process."""
    client = server("-c", "bulkhead.cgroup=off")
    thread = client.start_thread(config={"bulkhead.limits.memory_mib": 200})
    told = client.turn(thread, GREEDY)
    assert told[-1]["params"]["turn"]["status"] == "completed"
    outputs = [
        line["params"]["item"]["aggregatedOutput"]
        for line in told
        if line["method"] == "item/completed" and line["params"]["item"]["type"] == "commandExecution"
    ]
    assert len(outputs) == 1
    assert "MemoryError" in outputs[0]
    assert outputs[0].endswith("refused\n")
    row = client.row(thread)
    assert (row["epoch"], row["restarts"]) == (1, 0)


def test_a_worker_that_the_kernel_ends_for_its_processor_time_says_so(server):
    client = server()
    thread = client.start_thread(config={"bulkhead.limits.turn_cpu_s": 3000})
    turn = client.begin_turn(thread, "!run sleep 1000")
    client.wait_for("item/started", since=0)
    soft, _ = resource.prlimit(client.worker(thread), resource.RLIMIT_CPU)
    assert 3000 <= soft <= 3060
    os.kill(client.worker(thread), signal.SIGXCPU)  # as at the end of so much time
    end = client.end_of(turn)
    assert "over a limit: turn_cpu_s = 3000, ended by the kernel (SIGXCPU)" in end["error"]["message"]


@pytest.fixture
def groups(marked, tmp_path):
    """A folder in the place of a delegated cgroup v2: what the kernel would write is written by the test."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    return tmp_path


def group_of(groups, thread):
    [folder] = groups.glob(f"bulkhead-*/{thread}.*")
    return folder


LIMITED = {"bulkhead.limits.memory_mib": 100, "bulkhead.limits.processes": 6}


def test_a_thread_with_limits_has_a_control_group_that_ends_with_its_worker(server, groups):
    client = server("-c", f"bulkhead.cgroup={groups}")
    thread = client.start_thread(config=LIMITED)
    group = group_of(groups, thread)
    assert (group / "memory.max").read_text() == str(100 << 20)
    assert (group / "memory.oom.group").read_text() == "1"
    assert (group / "pids.max").read_text() == "6"
    assert (group / "worker" / "cgroup.procs").read_text() == str(client.worker(thread))
    assert (
        "unlimited"
        in Path(f"/proc/{client.worker(thread)}/limits").read_text().split("Max data size")[1][:30]
    )
    client.start_thread()
    assert len(list(groups.glob("bulkhead-*/*.1"))) == 1  # who has no limits has no group


@pytest.mark.parametrize(
    ("file", "line", "text"),
    [
        ("memory.events", "oom_kill 1", "memory_mib = 100, ended by the kernel (oom_kill)"),
        ("pids.events", "max 2", "processes = 6, the kernel refused one more (pids.max)"),
        ("worker/pids.events", "max 1", "processes = 6, the kernel refused one more (pids.max)"),
    ],
)
def test_what_the_kernel_did_in_a_group_is_the_reason(server, groups, file, line, text):
    client = server("-c", f"bulkhead.cgroup={groups}")
    over, other = client.start_thread(config=LIMITED), client.start_thread(config=LIMITED)
    turn = client.begin_turn(over, "!run sleep 1000")
    (group_of(groups, over) / file).write_text(f"low 0\n{line}\n")
    if file == "memory.events":
        os.kill(client.worker(over), signal.SIGKILL)  # the kernel ends all in the group
    assert f"over a limit: {text}" in client.end_of(turn)["error"]["message"]
    client.await_row(over, lambda row: row["epoch"] == 2)
    assert client.row(other)["epoch"] == 1


def test_where_no_group_can_be_made_the_server_says_why_and_goes_on(server, tmp_path):
    client = server("-c", f"bulkhead.cgroup={tmp_path}")
    thread = client.start_thread(config=LIMITED)
    assert client.turn(thread, "!say hello")[-1]["params"]["turn"]["status"] == "completed"
    assert not list(tmp_path.glob("bulkhead-*"))


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


def test_a_kill_by_the_kernel_for_want_of_memory_is_known_for_a_while(tmp_path):
    counts = tmp_path / "vmstat"
    counts.write_text("pgfault 7\noom_kill 3\n")
    watch = OomWatch(str(counts))
    assert not watch.struck()
    counts.write_text("pgfault 9\noom_kill 4\n")
    assert watch.struck()
    watch.look()
    assert watch.struck()  # an end that is noticed just after the look
    watch.look()
    assert not watch.struck()
    assert not OomWatch(str(tmp_path / "none")).struck()


def test_a_clock_that_is_set_ends_no_turn():
    async def over(began: float) -> str:
        thread = LoadedThread("t", 1, Adopt(role="thread"))
        thread.limits = Limits(turn_s=1000)
        thread.turn, thread.turn_began = Turn("turn", 0), began  # by the wall clock it began in 1970
        one = Incarnation(thread, None, 1, "")
        return LimitWatch(None, None, None)._over(one, None, 0)

    assert not asyncio.run(over(time.monotonic()))
    assert "turn_s = 1000" in asyncio.run(over(time.monotonic() - 2000))
