"""`logs -f` and `events -f`: nothing that is added is missed, whatever happens to the file, and the end is noticed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_server import PATIENCE_S, ROOT, await_ends

from supervisor import exit_codes
from supervisor.commands import following
from supervisor.commands.following import follow, last_lines
from supervisor.journal import Journal
from supervisor.thread_logs import ThreadLogs


@pytest.fixture
def following_command(marked):
    """Starts `bulkhead ... -f`; its stdout is read line by line."""
    with contextlib.ExitStack() as commands:

        def start(*words):
            argv = [sys.executable, "-m", "supervisor", *words]
            command = subprocess.Popen(
                argv, cwd=ROOT, env=marked.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
            commands.enter_context(command)
            commands.callback(command.kill)
            return command

        yield start


def looks(monkeypatch, *steps):
    """Has one step done before each look that follows the first; after the last nobody writes any more."""
    left = list(steps)
    monkeypatch.setattr(following.time, "sleep", lambda _: left.pop(0)())
    return lambda: bool(left)


def test_what_a_journal_has_before_it_is_full_is_followed_into_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("supervisor.journal.CAP_BYTES", 200)
    journal = Journal(str(tmp_path / "events.jsonl"))
    numbers = iter(range(100))

    def note(count):
        return lambda: [journal.note("test", number=next(numbers)) for _ in range(count)]

    note(2)()
    alive = looks(monkeypatch, note(3), note(1), note(4), note(1))
    seen = [json.loads(line)["number"] for line in follow(journal.path, 1, alive)]
    journal.close()
    assert seen == list(range(1, 11))


def test_what_a_log_has_before_it_is_emptied_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("supervisor.thread_logs.CAP_BYTES", 1000)
    monkeypatch.setattr(following, "KNOWN_BYTES", 50)
    logs = ThreadLogs(str(tmp_path))
    path = Path(logs.path("a"))
    with path.open("ab", buffering=0) as worker:
        numbers = iter(range(1000))

        def say(count):
            for _ in range(count):
                worker.write(b"line %d\n" % next(numbers))

        def rotate():
            say(60)
            logs.rotate(["a"])
            say(1)

        say(80)
        cut = "before é and after\n".encode()
        alive = looks(
            monkeypatch, rotate, lambda: worker.write(cut[:8]), lambda: worker.write(cut[8:]), lambda: None
        )
        seen = list(follow(str(path), 2, alive))
    assert seen == [*(f"line {number}" for number in range(78, 141)), "before é and after"]


def test_a_log_that_is_emptied_without_a_copy_says_nothing_twice(tmp_path, monkeypatch):
    path = tmp_path / "a.log"
    path.write_text("old\n")
    (tmp_path / "a.log.1").write_text("older\n")
    alive = looks(monkeypatch, lambda: os.truncate(path, 0), lambda: path.write_text("new\n"))
    assert list(follow(str(path), 5, alive)) == ["older", "old", "new"]


def test_the_last_lines_of_a_log_that_was_cut_within_a_line_are_whole(tmp_path):
    (tmp_path / "a.log.1").write_text("one\ntwo, bro")
    (tmp_path / "a.log").write_text("ken\nthree")
    assert last_lines(str(tmp_path / "a.log"), 3) == ["one", "two, broken", "three"]
    assert last_lines(str(tmp_path / "a.log"), 0) == []
    assert last_lines(str(tmp_path / "none.log"), 3) == []


def test_followers_notice_the_death_of_a_server_that_clears_nothing_away(server, following_command):
    client = server()
    thread = client.start_thread()
    followers = [following_command("events", "-f"), following_command("logs", "-f", thread)]
    for follower in followers:
        assert "epoch" in follower.stdout.readline()
    directory = Path(client.record.directory)
    client.kill_all_but_commands()
    for follower in followers:
        assert follower.wait(PATIENCE_S) == exit_codes.OK
    assert directory.exists()


def test_the_last_events_of_a_thread_are_not_those_of_others(server, bulkhead):
    client = server()
    thread, other = client.start_thread(), client.start_thread()
    worker = client.worker(other)
    await_ends([worker], ended=lambda: os.kill(worker, signal.SIGKILL))
    client.await_row(other, lambda row: row["epoch"] == 2)
    code, out, _ = bulkhead("events", "-n", "1", "--thread", thread)
    assert code == exit_codes.OK
    assert "worker-adopted" in out
    assert thread in out
