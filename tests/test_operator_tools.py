"""The operator's other commands, as a person or a script calls them: looking closely, pausing, draining, replacing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from protocol_client import RpcError
from running_server import LOOK_S, PATIENCE_S, ROOT, await_ends, state_of

from protocol import rpc
from supervisor import exit_codes
from supervisor.commands.following import last_lines
from supervisor.journal import CAP_BYTES, Journal
from supervisor.thread_logs import ThreadLogs

WAITING = (
    "!run echo $$ > pid.txt; while [ ! -e go.txt ]; do sleep 0.05; done; echo on > on.txt\n!then\n!say done"
)
QUICK_HANGS = ("-c", "bulkhead.hang_silence_ms=300", "-c", "bulkhead.hang_grace_ms=300")


def await_text(path, text):
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, f"{path} does not say {text}"
        time.sleep(LOOK_S)


def test_a_thread_is_found_by_its_name(server, bulkhead):
    client = server()
    thread, other = client.start_thread(), client.start_thread()
    client.turn(thread, "!say stored")
    client.request("thread/name/set", {"threadId": thread, "name": "the big one"})
    code, out, _ = bulkhead("inspect", "the big one", "--json")
    assert code == exit_codes.OK
    told = json.loads(out)
    assert (told["thread"], told["name"], told["state"]) == (thread, "the big one", "idle")
    assert told["used"]["processes"] == 1
    assert Path(told["rollout"]).exists()
    assert client.row(other)["name"] is None
    client.kill_worker(thread)  # its successor knows the name, too
    client.await_row(thread, lambda row: row["epoch"] == 2 and row["name"] == "the big one")
    code, out, _ = bulkhead("inspect", thread)
    assert re.search(rf"^thread +{thread}$", out, re.MULTILINE)
    assert bulkhead("inspect", "the bigger one")[0] == exit_codes.NOT_FOUND


def test_stack_tells_where_a_live_worker_is_and_where_a_hung_one_was(server, bulkhead):
    client = server(*QUICK_HANGS, "-c", "bulkhead.restart_limit=0")
    thread = client.start_thread()
    code, out, _ = bulkhead("stack", thread)
    assert code == exit_codes.OK
    assert out.startswith(f"worker {client.worker(thread)}\n")
    assert "process.py" in out
    first, second = (json.loads(bulkhead("stack", thread, "--json")[1]) for _ in range(2))
    assert first["live"]
    assert first["stack"].count("most recent call first") == second["stack"].count("most recent call first")

    turn = client.begin_turn(thread, "!stream 400 0.01")
    client.first_delta(thread)
    pid = client.kill_worker(thread, signal.SIGSTOP)
    assert "hung" in client.end_of(turn)["error"]["message"]
    client.await_row(thread, lambda row: row["state"] == "quarantined")
    code, out, _ = bulkhead("stack", thread)
    assert code == exit_codes.OK
    assert f"worker {pid}, which hung" in out
    assert "T (stopped)" in out  # it could not say more itself


def test_logs_and_events_tell_what_happened_to_a_thread(server, bulkhead):
    client = server()
    thread, other = client.start_thread(), client.start_thread()
    pid = client.worker(thread)
    code, out, _ = bulkhead("logs", thread)
    assert code == exit_codes.OK
    assert f"worker {pid}, epoch 1" in out
    client.kill_worker(thread, signal.SIGSEGV)
    client.await_row(thread, lambda row: row["epoch"] == 2)
    lines = bulkhead("logs", thread, "-n", "2")[1].splitlines()
    assert [line.partition("bulkhead: ")[2] for line in lines] == [
        f"worker {pid} ended: crashed (SIGSEGV)",
        f"worker {client.worker(thread)}, epoch 2",
    ]
    code, out, _ = bulkhead("events", "--json", "--thread", thread)
    assert code == exit_codes.OK
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events] == [
        "worker-adopted",
        "worker-ended",
        "restart",
        "worker-adopted",
    ]
    assert (events[1]["pid"], events[1]["reason"], events[1]["how"]) == (pid, "crashed", "crashed (SIGSEGV)")
    assert {event["thread"] for event in events} == {thread}
    assert other in bulkhead("events")[1]


def test_what_happened_to_a_thread_is_told_when_it_is_not_loaded_any_more(server, bulkhead):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say stored")
    client.operate("drain", thread=thread)
    for whole in (thread, thread.upper()):
        assert "ended: stopped" in bulkhead("logs", whole)[1]
        assert "worker-ended" in bulkhead("events", "--thread", whole)[1]
    for other in (thread[:-1], "../server", "none"):
        assert bulkhead("logs", other)[0] == exit_codes.NOT_FOUND
    assert bulkhead("inspect", thread)[0] == exit_codes.NOT_FOUND


def test_logs_are_followed_until_the_server_ends(server, marked):
    client = server()
    thread = client.start_thread()
    follower = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "logs", "-f", thread],
        cwd=ROOT,
        env=marked.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "epoch 1" in follower.stdout.readline()
    pid = client.kill_worker(thread)
    assert f"worker {pid} ended: crashed (SIGKILL)" in follower.stdout.readline()
    assert "epoch 2" in follower.stdout.readline()
    client.close()
    assert follower.wait(PATIENCE_S) == exit_codes.OK
    follower.stdout.close()


def test_a_paused_thread_stands_still_and_counts_as_no_hang(server, bulkhead, workspace):
    client = server(*QUICK_HANGS)
    thread, other = client.start_thread(), client.start_thread()
    turn = client.begin_turn(thread, WAITING)
    await_text(workspace / "pid.txt", "\n")
    command = int((workspace / "pid.txt").read_text())
    code, out, _ = bulkhead("pause", thread, "--json")
    (workspace / "go.txt").touch()
    assert code == exit_codes.OK
    assert json.loads(out)["processes"] >= 2
    worker = client.worker(thread)
    assert (state_of(worker), state_of(command)) == ("T", "T")
    assert client.row(thread)["why"] == "paused by operator"
    client.turn(other, "!stream 300 0.004")  # long enough for a hang to be noticed
    assert not (workspace / "on.txt").exists()
    assert client.worker(thread) == worker
    code, out, _ = bulkhead("resume", thread)
    assert code == exit_codes.OK
    assert client.end_of(turn)["status"] == "completed"
    assert client.worker(thread) == worker
    assert bulkhead("resume", thread)[0] == exit_codes.FAILED


def test_a_paused_thread_can_be_killed_and_its_next_worker_is_not_paused(server, bulkhead):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, "!stream 400 0.01")
    assert bulkhead("pause", thread)[0] == exit_codes.OK
    assert bulkhead("kill", thread)[0] == exit_codes.OK
    assert "killed by operator" in client.end_of(turn)["error"]["message"]
    row = client.await_row(thread, lambda row: row["epoch"] == 2)
    assert (row["paused"], row["why"]) == (False, None)
    assert client.turn(thread, "!say on we go")[-1]["params"]["turn"]["status"] == "completed"


def test_quarantine_is_released_by_its_command_and_by_nothing_else_than_that(server, bulkhead):
    client = server("-c", "bulkhead.restart_limit=0")
    thread = client.start_thread()
    assert bulkhead("quarantine", "release", thread)[0] == exit_codes.FAILED
    client.kill_worker(thread)
    row = client.await_row(thread, lambda row: row["state"] == "quarantined")
    assert "crashed (SIGKILL)" in row["why"]
    assert f"quarantine release {thread}" in _refusal(client, thread)
    code, out, _ = bulkhead("quarantine", "release", thread)
    assert (code, "crashed (SIGKILL)" in out) == (exit_codes.OK, True)
    assert client.turn(thread, "!say back")[-1]["params"]["turn"]["status"] == "completed"


def _refusal(client, thread):
    with pytest.raises(RpcError) as refusal:
        client.request("turn/start", {"threadId": thread, "input": []})
    assert refusal.value.data["quarantined"]
    return refusal.value.message


def test_a_thread_that_fails_at_each_start_says_why(server):
    client = server("-c", "bulkhead.restart_limit=2")
    thread = client.start_thread()
    client.turn(thread, "!say stored")
    [rollout] = (Path(client.marked.env["BULKHEAD_HOME"]) / "sessions").glob(f"*/*/*/*{thread}.jsonl")
    rollout.write_bytes(b"this is no rollout\n")
    client.operate("kill", thread=thread)
    row = client.await_row(thread, lambda row: row["state"] == "quarantined")
    assert "start-up failure" in row["why"]
    assert "RolloutDamaged" in row["why"]
    message = _refusal(client, thread)
    assert "start-up failure" in message
    assert "RolloutDamaged" in message


def test_drain_lets_a_turn_end_and_takes_no_new_one(server, bulkhead):
    client = server()
    thread, other = client.start_thread(), client.start_thread()
    turn = client.begin_turn(thread, "!stream 300 0.005")
    client.first_delta(thread)
    results = []
    draining = threading.Thread(target=lambda: results.append(bulkhead("drain", thread, "--json")))
    draining.start()
    client.await_row(thread, lambda row: row["why"] == "draining: no new turns")
    assert client.end_of(turn)["status"] == "completed"
    draining.join()
    [(code, out, _)] = results
    assert (code, json.loads(out)) == (exit_codes.OK, {"done": [thread], "interrupted": [], "kept": []})
    assert client.request("thread/loaded/list", {})["data"] == [other]
    client.request("thread/resume", {"threadId": thread})  # it is only not loaded
    assert client.turn(thread, "!say back")[-1]["params"]["turn"]["status"] == "completed"


def test_drain_all_interrupts_at_its_deadline_and_can_be_taken_back(server, bulkhead):
    client = server()
    idle, busy = client.start_thread(), client.start_thread()
    turn = client.begin_turn(busy, "!stream 100000 0.01")
    client.first_delta(busy)
    code, out, _ = bulkhead("drain", "--all", "--deadline", "0.2", "--json")
    assert code == exit_codes.OK
    assert json.loads(out) == {"done": [idle], "interrupted": [busy], "kept": []}
    assert client.end_of(turn)["status"] == "interrupted"
    assert client.request("thread/loaded/list", {})["data"] == []
    with pytest.raises(RpcError) as refusal:
        client.start_thread()
    assert (refusal.value.code, refusal.value.data) == (-32001, {"server_overloaded": "draining"})
    assert bulkhead("drain", "--all", "--cancel")[0] == exit_codes.OK
    assert client.turn(client.start_thread(), "!say again")[-1]["params"]["turn"]["status"] == "completed"
    assert bulkhead("drain")[0] == bulkhead("drain", "--all", busy)[0] == exit_codes.USAGE


def test_replace_gives_every_thread_a_worker_of_a_new_zygote_and_interrupts_nothing(server, bulkhead):
    client = server()
    idle, busy = client.start_thread(), client.start_thread()
    client.turn(idle, "!say before")
    zygote, workers = client.zygote, {thread: client.worker(thread) for thread in (idle, busy)}
    turn = client.begin_turn(busy, "!stream 200 0.005")
    client.first_delta(busy)
    code, out, _ = bulkhead("replace", "--json")
    assert code == exit_codes.OK
    assert sorted(json.loads(out)["done"]) == sorted([idle, busy])
    assert client.end_of(turn)["status"] == "completed"
    for thread in (idle, busy):
        assert client.turn(thread, "!say after")[-1]["params"]["turn"]["status"] == "completed"
        assert client.worker(thread) != workers[thread]
        assert client.row(thread)["restarts"] == 0
    assert client.zygote != zygote


@pytest.mark.parametrize("operation", ["drain", "replace"])
def test_a_deadline_that_is_none_changes_nothing(server, operation):
    client = server()
    thread = client.start_thread()
    worker = client.worker(thread)
    with pytest.raises(rpc.RpcError, match="deadline is a number of seconds"):
        client.operate(operation, all=True, deadline="soon")
    assert client.worker(thread) == worker
    assert client.turn(thread, "!say on")[-1]["params"]["turn"]["status"] == "completed"


UPGRADES = {
    "code that does not start": ("raise SystemExit('a library is missing')", "the zygote failed to start"),
    "code of another wire": ("import protocol.link\nprotocol.link.WIRE += 1", "restart the server"),
}
"""What a new interpreter runs first, and why its workers are of no use."""


@pytest.mark.parametrize("kind", UPGRADES)
def test_an_upgrade_that_cannot_serve_replaces_nothing(server, bulkhead, marked, tmp_path, kind):
    at_start, reason = UPGRADES[kind]
    upgrade = tmp_path / "upgrade"
    upgrade.mkdir()
    path = marked.env["PYTHONPATH"]
    marked.env["PYTHONPATH"] = (
        f"{upgrade}{os.pathsep}{path}"  # where the server's next interpreters look first
    )
    client = server()
    marked.env["PYTHONPATH"] = path
    idle, busy = client.start_thread(), client.start_thread()
    client.turn(idle, "!say before")
    before = client.zygote, client.worker(idle)
    turn = client.begin_turn(busy, "!stream 200 0.005")
    (upgrade / "sitecustomize.py").write_text(at_start)
    code, _, errors = bulkhead("replace")
    assert code == exit_codes.FAILED
    assert "nothing was replaced" in errors
    assert reason in errors
    assert client.end_of(turn)["status"] == "completed"
    assert (client.zygote, client.worker(idle)) == before
    # Who needs a new worker gets one of the old code.
    bulkhead("kill", idle)
    assert client.turn(idle, "!say after")[-1]["params"]["turn"]["status"] == "completed"
    (upgrade / "sitecustomize.py").unlink()
    assert bulkhead("replace")[0] == exit_codes.OK
    assert client.zygote != before[0]


def test_top_shows_who_works(server, bulkhead):
    client = server()
    idle, busy = client.start_thread(), client.start_thread()
    client.begin_turn(busy, "!stream 100000 0.001")
    client.first_delta(busy)
    code, out, _ = bulkhead("top", "--count", "2", "--interval", "0.5")
    assert code == exit_codes.OK
    picture = out.splitlines()[-3:]
    assert picture[0].split()[:4] == ["THREAD", "STATE", "PID", "CPU%"]
    assert [line.split()[0] for line in picture[1:]] == [busy, idle]
    assert "1 busy, 1 idle" in out
    rows = json.loads(bulkhead("top", "--count", "1", "--json")[1])
    assert {row["thread"] for row in rows} == {idle, busy}


def test_metrics_count_what_happened(server, bulkhead):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    client.kill_worker(thread)
    client.await_row(thread, lambda row: row["epoch"] == 2)
    code, out, _ = bulkhead("metrics")
    assert code == exit_codes.OK
    samples = dict(line.rsplit(" ", 1) for line in out.splitlines() if not line.startswith("#"))
    assert samples['bulkhead_threads{state="idle"}'] == "1"
    assert samples["bulkhead_worker_births_total"] == "2"
    assert samples['bulkhead_worker_deaths_total{reason="crashed"}'] == "1"
    assert samples['bulkhead_requests_total{method="turn/start"}'] == "1"
    assert samples["bulkhead_turn_seconds_count"] == samples["bulkhead_first_token_seconds_count"] == "1"
    families = {line.split()[2] for line in out.splitlines() if line.startswith("# TYPE")}
    for name in samples:
        family = re.sub(r"_(bucket|sum|count)$", "", name.partition("{")[0])
        assert family in families, name


def samples_of(client):
    lines = client.operate("metrics")["text"].splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_no_counter_goes_down_with_the_thread_it_counted(server):
    client = server("-c", "bulkhead.hibernate_after_s=0.2")
    thread = client.start_thread()
    client.turn(thread, "!say stored")
    client.await_row(thread, lambda row: row["state"] == "hibernated")
    client.turn(thread, "!say awake")
    assert samples_of(client)["bulkhead_wakes_total"] == "1"
    client.operate("drain", thread=thread)
    assert samples_of(client)["bulkhead_wakes_total"] == "1"


def test_a_turn_that_ends_with_its_worker_is_among_the_turns(server):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, "!run sleep 1000")
    client.kill_worker(thread)
    assert client.end_of(turn)["status"] == "failed"
    assert samples_of(client)["bulkhead_turn_seconds_count"] == "1"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(bulkhead, shell):
    code, out, _ = bulkhead("completion", shell)
    assert code == exit_codes.OK
    for command in ("ps", "quarantine", "release", "model-server"):
        assert command in out
    if shell == "bash":
        line = "COMP_WORDS=(bulkhead dr) COMP_CWORD=1; _bulkhead; echo ${COMPREPLY[@]}"
        told = subprocess.run(
            ["bash", "-c", f"{out}\n{line}"], capture_output=True, text=True, check=True, timeout=60
        )
        assert told.stdout == "drain\n"


def test_a_log_over_its_cap_keeps_its_end_and_all_logs_together_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("supervisor.thread_logs.CAP_BYTES", 1000)
    monkeypatch.setattr("supervisor.thread_logs.TOTAL_BYTES", 3000)
    logs = ThreadLogs(str(tmp_path))
    path = Path(logs.path("a"))
    with path.open("a") as worker:  # appends, as workers do
        worker.write("".join(f"line {number}\n" for number in range(1000)))
        worker.flush()
        size = path.stat().st_size
        assert logs.rotate(["a", "none"]) == {"a": size}
        worker.write("after\n")
    assert path.read_text() == "after\n"
    assert last_lines(str(path), 2) == ["line 999", "after"]
    for number in range(5):
        other = Path(logs.path(f"b{number}"))
        other.write_text("x" * 1000)
        os.utime(other, (number, number))
    assert logs.bound() <= 3000
    assert [Path(logs.path(f"b{number}")).stat().st_size for number in range(5)][-1] == 1000
    assert path.read_text() == "after\n"


def test_the_journal_is_capped_and_a_full_disk_stops_nothing(tmp_path):
    journal = Journal(str(tmp_path / "events.jsonl"))
    for _ in range(3):
        journal.note("test", "thread", reason="x" * (CAP_BYTES // 2))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * CAP_BYTES
    journal.close()
    nowhere = Journal(str(tmp_path / "none" / "events.jsonl"))
    nowhere.note("test")
    assert nowhere.counts["test", ""] == 1


def test_reap_ends_what_a_killed_server_left_and_nobody_else(server, bulkhead, marked, workspace):
    client = server()
    thread = client.start_thread()
    client.begin_turn(thread, "!run setsid sleep 1000 & echo $! > pid.txt; wait")
    await_text(workspace / "pid.txt", "\n")
    client.kill_all_but_commands()
    left = marked.processes()
    assert len(left) >= 1
    innocent = subprocess.Popen(["sleep", "1000"])
    try:
        # As if its number had belonged to a worker once.
        records = Path(client.record.directory) / "processes"
        boot = next(records.iterdir()).read_text().split()[1]
        (records / str(innocent.pid)).write_text(f"1 {boot}")
        results = []
        recorded = {int(file.name) for file in records.iterdir()}
        in_reach = [pid for pid in left if os.getsid(pid) in recorded]
        await_ends(in_reach, ended=lambda: results.append(bulkhead("reap", "--json")))
        [(code, out, _)] = results
        assert code == exit_codes.OK
        [told] = json.loads(out)
        assert set(in_reach) <= set(told["pids"]) <= left
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()
    assert not Path(client.marked.runtime, told["server"]).exists()
    assert bulkhead("reap")[1] == "nothing was left behind\n"


def test_a_thread_that_gets_no_process_says_why_and_when_it_is_tried_again(
    server, bulkhead, marked, tmp_path
):
    path = marked.env["PYTHONPATH"]
    upgrade = tmp_path / "upgrade"
    upgrade.mkdir()
    marked.env["PYTHONPATH"] = f"{upgrade}{os.pathsep}{path}"
    client = server("-c", "bulkhead.parked_workers=0", "-c", "bulkhead.restart_backoff_cap_ms=600000")
    marked.env["PYTHONPATH"] = path
    thread = client.start_thread()
    client.turn(thread, "!say stored")
    (upgrade / "sitecustomize.py").write_text("raise SystemExit('a library is missing')")
    doomed = [client.zygote, client.worker(thread)]
    await_ends(doomed, ended=lambda: [os.kill(pid, signal.SIGKILL) for pid in doomed])
    row = client.await_row(thread, lambda row: row["state"] == "dead" and row["why"])
    assert re.match(r"next start in \d+\.\d s, last: the zygote failed to start", row["why"])
    (upgrade / "sitecustomize.py").unlink()
    assert bulkhead("restart", thread)[0] == exit_codes.OK
    assert client.turn(thread, "!say back")[-1]["params"]["turn"]["status"] == "completed"
