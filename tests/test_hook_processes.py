"""The processes of hooks: their ends, their environment, their place outside the sandbox."""

from __future__ import annotations

import os
from pathlib import Path

import hook_turns
from hook_turns import RUN, UNSAFE, items, runs

hooks = hook_turns.hooks
trusting = hook_turns.trusting


def alive(pids):
    def running(pid):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state not in "ZX"

    return [pid for pid in pids if running(pid)]


def tree(pids):
    """A hook that hangs, with a child that has left its session."""
    return f"setsid sh -c 'echo $$ >> {pids}; exec sleep 600' & echo $$ >> {pids}; sleep 600"


def test_a_hook_that_hangs_is_ended_whole_at_its_time(trusting, hooks, tmp_path):
    pids = tmp_path / "pids"
    hooks.add("PreToolUse", tree(pids), timeout=1)
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), RUN)
    assert runs(lines) == [("preToolUse", "failed", [("error", "hook timed out after 1s")])]
    assert "commandExecution" in items(lines)
    started = [int(line) for line in pids.read_text().split()]
    assert len(started) == 2
    assert alive(started) == []


def test_an_interrupt_ends_a_hook_whole_and_is_told_to_hooks(trusting, hooks, tmp_path):
    pids = tmp_path / "pids"
    os.mkfifo(up := tmp_path / "up")
    hooks.add(
        "PreToolUse",
        f"setsid sh -c 'echo $$ >> {pids}; echo > {up}; exec sleep 600' & echo $$ >> {pids}; sleep 600",
    )
    hooks.record("Interrupt")
    hooks.record("Stop")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    since = client.mark()
    turn = client.request("turn/start", {"threadId": thread, "input": [{"type": "text", "text": RUN}]})[
        "turn"
    ]["id"]
    up.read_text()
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert client.wait_for("turn/completed", since=since).params["turn"]["status"] == "interrupted"
    assert alive([int(line) for line in pids.read_text().split()]) == []
    assert [one["hook_event_name"] for one in hooks.heard()] == ["Interrupt"]


def test_a_session_that_has_started_ends_with_its_thread_or_the_server(trusting, hooks, workspace):
    hooks.record("SessionEnd")
    hooks.record("Interrupt")
    client = trusting()
    client.start_thread(**UNSAFE)  # has no session yet
    first, second = client.start_thread(**UNSAFE), client.start_thread(**UNSAFE)
    client.turn(first, "!say one")
    path = client.request("thread/read", {"threadId": first})["thread"]["path"]
    since = client.mark()
    client.request("thread/archive", {"threadId": first})
    assert client.wait_for("hook/completed", since=since).params["run"]["eventName"] == "sessionEnd"
    assert hooks.heard() == [
        {
            "session_id": first,
            "transcript_path": path,
            "cwd": str(workspace),
            "hook_event_name": "SessionEnd",
            "reason": "other",
        }
    ]
    since = client.mark()
    client.begin_turn(second, "!hang")
    client.wait_for("item/agentMessage/delta", since=since)
    client.close()
    # Nobody has interrupted its turn.
    assert [(one["session_id"], one["hook_event_name"]) for one in hooks.heard()[1:]] == [
        (second, "SessionEnd")
    ]


def test_what_a_hook_leaves_running_ends_with_the_worker(trusting, hooks, tmp_path):
    pids = tmp_path / "pids"
    hooks.add("Stop", f"setsid sleep 600 >/dev/null 2>&1 & echo $! >> {pids}")
    client = trusting()
    client.turn(client.start_thread(**UNSAFE), "!say one")
    started = [int(line) for line in pids.read_text().split()]
    assert alive(started) == started
    client.close()
    assert alive(started) == []


def test_hooks_get_the_environment_of_commands_without_the_server_s_keys(
    trusting, hooks, tmp_path, marked, home
):
    marked.env |= {"OPENAI_API_KEY": "k", "MINE": "m", "OTHER": "o"}
    with (home / "config.toml").open("a") as file:
        file.write('\n[shell_environment_policy]\nexclude = ["OTHER"]\n')
    hooks.add("Stop", f"env > {tmp_path / 'env'}")
    client = trusting()
    client.turn(client.start_thread(**UNSAFE), "!say one")
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert "MINE" in names
    assert not {"OPENAI_API_KEY", "OTHER"} & names


def test_hooks_run_outside_the_sandbox(trusting, hooks, tmp_path):
    outside = tmp_path / "outside"
    hooks.add("UserPromptSubmit", f"touch {outside}")
    client = trusting()
    client.turn(client.start_thread(sandbox="read-only", approvalPolicy="never"), "!say one")
    assert outside.exists()
