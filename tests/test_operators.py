"""`bulkhead ps`, `kill` and `restart`, as a person or a script calls them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from running_server import ROOT, await_ends

from supervisor import exit_codes

COLUMNS = ["THREAD", "NAME", "STATE", "PID", "EPOCH", "MEM", "CPU", "AGE", "TURN", "RESTARTS", "CWD", "WHY"]


def beginning(one, other):
    """What two ids have in common: the time they were made, and that is most of it."""
    return "".join(
        letters[0] for letters in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=True))
    )


def test_without_a_server(bulkhead):
    assert bulkhead("ps") == (exit_codes.OK, "no server is running\n", "")
    code, out, _ = bulkhead("ps", "--json")
    assert (code, json.loads(out)) == (exit_codes.OK, [])
    assert bulkhead("ps", "--server", "none")[0] == exit_codes.NOT_FOUND
    assert bulkhead("kill", "01a2") == (exit_codes.NOT_FOUND, "", "bulkhead: no server is running\n")
    assert bulkhead("kill")[0] == exit_codes.USAGE


def test_ps_tells_threads_with_their_processes_and_turns(server, bulkhead, workspace):
    client = server()
    idle, busy = client.start_thread(), client.start_thread()
    client.turn(idle, "Say hello, please.\n!say hello")
    turn = client.begin_turn(busy, "!run sleep 1000")
    client.wait_for("item/started", since=0)

    code, out, _ = bulkhead("ps", "--json")
    assert code == exit_codes.OK
    [answer] = json.loads(out)
    assert answer["server"]["pid"] == client.pid
    rows = {row["thread"]: row for row in answer["threads"]}
    assert rows.keys() == {idle, busy}
    assert (rows[idle]["state"], rows[idle]["turn"]) == ("idle", None)
    assert (rows[busy]["state"], rows[busy]["turn"]) == ("busy", turn)
    assert rows[idle]["preview"].startswith("Say hello")
    for row in rows.values():
        assert Path(f"/proc/{row['pid']}").exists()
        assert row["memoryBytes"] > 0
        assert (row["epoch"], row["restarts"], row["lastEnd"], row["clients"]) == (1, 0, None, 1)
        assert row["cwd"] == str(workspace)
        assert row["model"] == "gpt-6.1-sol"

    code, table, _ = bulkhead("ps")
    assert code == exit_codes.OK
    lines = [line.split() for line in table.splitlines()]
    head = lines.index(COLUMNS)
    told = {cells[0]: cells for cells in lines[head + 1 :] if cells}
    assert told.keys() == {idle, busy}
    assert told[busy][2:5] == ["busy", str(rows[busy]["pid"]), "1"]
    assert told[busy][8] == turn[-12:]


def test_kill_ends_the_worker_and_the_thread_goes_on(server, bulkhead):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, "!run sleep 1000")
    pid = client.worker(thread)
    results = []
    await_ends([pid], ended=lambda: results.append(bulkhead("kill", thread, "--json")))
    [(code, out, _)] = results
    assert (code, json.loads(out)) == (exit_codes.OK, {"thread": thread, "pid": pid, "epoch": 1})
    assert "killed by operator (SIGKILL)" in client.end_of(turn)["error"]["message"]
    client.await_row(thread, lambda row: row["epoch"] == 2)
    assert client.row(thread)["lastEnd"] == "killed by operator (SIGKILL)"
    assert client.turn(thread, "!say still here")[-1]["params"]["turn"]["status"] == "completed"
    code, out, _ = bulkhead("kill", thread)
    assert (code, out.split()[:2]) == (exit_codes.OK, ["killed", "worker"])


def test_restart_interrupts_the_turn_in_order_and_gives_a_new_worker(server, bulkhead):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, "!stream 400 0.01")
    client.first_delta(thread)
    code, out, _ = bulkhead("restart", thread)
    assert code == exit_codes.OK
    assert client.end_of(turn)["status"] == "interrupted"
    pid = client.worker(thread)
    assert out == f"thread {thread} has worker {pid} (epoch 2)\n"
    assert client.turn(thread, "!say still here")[-1]["params"]["turn"]["status"] == "completed"


def test_names_that_fit_nothing_or_too_much_touch_nobody(server, bulkhead):
    client = server()
    threads = [client.start_thread(), client.start_thread()]
    workers = [client.worker(thread) for thread in threads]
    common = beginning(*threads)
    assert len(common) > 4

    code, out, error = bulkhead("kill", common)
    assert (code, out) == (exit_codes.AMBIGUOUS, "")
    assert all(thread in error for thread in threads)
    code, out, error = bulkhead("restart", "no-such-thread")
    assert (code, out) == (exit_codes.NOT_FOUND, "")
    assert "no-such-thread" in error
    assert bulkhead("kill", threads[0], "--server", "no-such-server")[0] == exit_codes.NOT_FOUND
    assert [client.worker(thread) for thread in threads] == workers

    code, out, _ = bulkhead("kill", threads[1][-8:])  # the end of an id is the part that tells
    assert (code, threads[1] in out) == (exit_codes.OK, True)
    assert client.worker(threads[0]) == workers[0]


def test_two_servers_of_one_user_are_told_apart(server, bulkhead):
    first, second = server(), server()
    here, there = first.start_thread(), second.start_thread()
    common = beginning(here, there)

    answers = json.loads(bulkhead("ps", "--json")[1])
    assert [answer["server"]["pid"] for answer in answers] == [first.pid, second.pid]
    assert [[row["thread"] for row in answer["threads"]] for answer in answers] == [[here], [there]]
    table = bulkhead("ps")[1]
    assert str(first.pid) in table
    assert str(second.pid) in table
    [answer] = json.loads(bulkhead("ps", "--json", "--server", str(second.pid))[1])
    assert answer["server"]["pid"] == second.pid

    code, _, error = bulkhead("kill", common)
    assert code == exit_codes.AMBIGUOUS
    assert "--server" in error
    assert bulkhead("kill", there)[0] == exit_codes.OK  # found without being told where
    second.await_row(there, lambda row: row["epoch"] == 2)
    assert bulkhead("kill", common, "--server", second.record.name)[0] == exit_codes.OK
    second.await_row(there, lambda row: row["epoch"] == 3)
    assert bulkhead("kill", here, "--server", str(second.pid))[0] == exit_codes.NOT_FOUND
    assert bulkhead("kill", "no-such-thread")[0] == exit_codes.NOT_FOUND
    assert first.row(here)["epoch"] == 1


def test_only_the_user_gets_at_the_sockets_and_a_dead_server_is_cleared_away(server, bulkhead, marked):
    client = server()
    directory = Path(client.record.directory)
    for folder in (marked.runtime, directory, *(path for path in directory.iterdir() if path.is_dir())):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    await_ends(marked.processes(), ended=lambda: os.kill(client.pid, signal.SIGKILL))
    assert directory.exists()
    assert bulkhead("ps")[1] == "no server is running\n"
    server()
    assert not directory.exists()


def test_a_server_that_ends_in_order_leaves_nothing_in_the_runtime_directory(server, marked):
    client = server()
    client.start_thread()
    client.close()
    assert not list(marked.runtime.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        *(f"{command} --deadline {deadline}" for command in ("drain --all", "replace") for deadline in ("nan", "-1", "inf")),
        "top --interval -1",
        "top --interval 0",
        "top --count 0",
        "events -n -3",
        "logs 01a2 -n -3",
    ],
)  # fmt: skip
def test_a_number_that_can_be_none_is_a_wrong_command_line(bulkhead, words):
    code, out, error = bulkhead(*words.split())
    assert (code, out) == (exit_codes.USAGE, "")
    assert f"{words.split()[-1]!r} is no" in error


def test_a_name_is_shown_and_not_obeyed(server, bulkhead):
    client = server()
    thread, other = client.start_thread(), client.start_thread()
    client.turn(thread, "!say stored")
    client.request("thread/name/set", {"threadId": thread, "name": "two\nlines\x1b[2J 名前"})
    for command in (["ps"], ["top", "--count", "1"], ["inspect", thread]):
        _, out, _ = bulkhead(*command)
        assert r"two\nlines\x1b[2J 名前" in out
        assert "\x1b" not in out
    rows = {line.split()[0]: line for line in bulkhead("ps")[1].splitlines()}
    # Two of the letters are as wide as two others on a terminal.
    assert rows[other].index(" idle ") - rows[thread].index(" idle ") == len("名前")
    assert bulkhead("kill", "two\nlines\x1b[2J 名前")[0] == exit_codes.OK


@pytest.mark.parametrize("command", ["ps", "completion bash"])
def test_output_that_nobody_takes_is_no_failure(server, marked, command):
    server()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor", *command.split()],
            cwd=ROOT,
            env={key: value for key, value in marked.env.items() if key != "PYTHONUNBUFFERED"},
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (exit_codes.OK, "")
