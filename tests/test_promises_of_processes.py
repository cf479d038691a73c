"""Promises 11, 13 and 14: no process is left."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest
from promise_scenes import STEADY, STEADY_SCRIPT, ledger_of
from running_server import (
    LOOK_S,
    PATIENCE_S,
    RunningServer,
    await_ends,
    children,
    command_line,
)
from turn_ledger import words


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
