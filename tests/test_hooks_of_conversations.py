"""Hooks of prompts, sessions, the end of a turn and compactions."""

from __future__ import annotations

import os
from pathlib import Path

import hook_turns
from hook_turns import UNSAFE, asked, items, runs, says

hooks = hook_turns.hooks
trusting = hook_turns.trusting


def test_a_prompt_that_is_blocked_never_reaches_the_model(trusting, hooks, model):
    hooks.record("UserPromptSubmit")
    hooks.add("UserPromptSubmit", "grep -q secret && { echo 'no secrets' >&2; exit 2; }; echo 'be brief'")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    lines = client.turn(thread, "!say the secret")
    assert runs(lines)[1] == ("userPromptSubmit", "blocked", [("feedback", "no secrets")])
    assert items(lines) == []
    assert lines[-1]["params"]["turn"]["status"] == "completed"
    assert not [one for one in model.requests() if one.path.endswith("/responses")]
    client.turn(thread, "!say hello")
    assert asked(model) == [("user", "!say hello"), ("developer", "be brief")]
    assert [one["prompt"] for one in hooks.heard()] == ["!say the secret", "!say hello"]


def test_a_session_starts_once_and_again_when_it_is_resumed(trusting, hooks, model):
    hooks.record("SessionStart", "echo remember this")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    client.turn(thread, "!say one")
    client.turn(thread, "!say two")
    assert asked(model)[0] == ("developer", "remember this")
    assert [one["source"] for one in hooks.heard()] == ["startup"]
    assert "turn_id" not in hooks.heard()[0]
    client.close()
    client = trusting()
    client.request("thread/resume", {"threadId": thread, **UNSAFE})
    lines = client.turn(thread, "!say three")
    assert [one["source"] for one in hooks.heard()] == ["startup", "resume"]
    [run] = [line["params"]["run"] for line in lines if line["method"] == "hook/completed"]
    assert run["scope"] == "thread"
    fork = client.request("thread/fork", {"threadId": thread})["thread"]["id"]
    client.turn(fork, "!say four")
    cleared = client.start_thread(**UNSAFE, sessionStartSource="clear")
    client.turn(cleared, "!say five")
    assert [one["source"] for one in hooks.heard()][2:] == ["fork", "clear"]


def test_a_worker_that_is_replaced_starts_no_session(trusting, hooks):
    hooks.record("SessionStart")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    lines = client.turn(thread, "!run echo $PPID\n!then\n!say one")
    since = client.mark()
    client.request(
        "turn/start",
        {"threadId": thread, "input": [{"type": "text", "text": "!run kill -9 $PPID\n!then\n!say x"}]},
    )
    client.wait_for("turn/completed", since=since)
    lines = client.turn(thread, "!say two")
    assert lines[-1]["params"]["turn"]["status"] == "completed"
    assert [one["source"] for one in hooks.heard()] == ["startup"]


def test_a_session_that_a_hook_refuses_takes_no_turn(trusting, hooks, model):
    hooks.add("SessionStart", says(**{"continue": False, "stopReason": "not today"}))
    hooks.record("UserPromptSubmit")
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), "!say one")
    assert runs(lines) == [("sessionStart", "stopped", [("stop", "not today")])]
    assert items(lines) == []
    assert not [one for one in model.requests() if one.path.endswith("/responses")]


def test_a_hook_keeps_the_model_going_until_it_is_content(trusting, hooks, model):
    hooks.record("Stop", f"[ $(wc -l < {hooks._notes}) -lt 3 ] && {{ echo 'go <on>' >&2; exit 2; }}; true")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    lines = client.turn(thread, "!say done")
    assert items(lines) == ["userMessage", *["agentMessage", "hookPrompt"] * 2, "agentMessage"]
    assert [run[1] for run in runs(lines)] == ["blocked", "blocked", "completed"]
    assert [one["stop_hook_active"] for one in hooks.heard()] == [False, True, True]
    assert hooks.heard()[0]["last_assistant_message"] == "done"
    assert asked(model)[-1] == (
        "user",
        f'<hook_prompt hook_run_id="stop:0:{hooks._file}">go &lt;on&gt;</hook_prompt>',
    )
    [turn] = client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"]["turns"]
    told = [item for item in turn["items"] if item["type"] == "hookPrompt"]
    assert told[0]["fragments"] == [{"text": "go <on>", "hookRunId": f"stop:0:{hooks._file}"}]


def test_what_the_user_says_meanwhile_goes_through_the_hooks(trusting, hooks, model, workspace):
    hooks.add("UserPromptSubmit", "grep -q forbidden && { echo no >&2; exit 2; }; true")
    os.mkfifo(gate := workspace / "gate")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    since = client.mark()
    turn = client.begin_turn(thread, "!run read line < gate\n!then\n!say done")
    client.wait_for(
        lambda message: (
            message.get("method") == "item/started"
            and message["params"]["item"]["type"] == "commandExecution"
        ),
        since=since,
    )
    said = [{"type": "text", "text": "forbidden"}]
    client.request("turn/steer", {"threadId": thread, "expectedTurnId": turn, "input": said})
    gate.write_text("go\n")
    client.wait_for("turn/completed", since=since)
    assert [one["type"] for one in client.end_of(turn, since=since)["items"]] == []
    assert not any("forbidden" in text for _, text in asked(model))


def test_an_asynchronous_hook_is_not_waited_for(trusting, hooks, model, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hooks.add("UserPromptSubmit", f"read line < {gate}; echo late; echo heard > {gate}", **{"async": True})
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    lines = client.turn(thread, "!say one")
    assert runs(lines) == []
    gate.write_text("go\n")
    gate.read_text()
    since = client.mark()
    client.request("turn/start", {"threadId": thread, "input": [{"type": "text", "text": "!say two"}]})
    client.wait_for("turn/completed", since=since)
    gate.write_text("go\n")
    gate.read_text()
    client.turn(thread, "!say three")
    gate.write_text("go\n")
    assert ("developer", "late") in asked(model)


def test_what_is_long_is_kept_in_a_file(trusting, hooks, model, tmp_path, marked):
    marked.env["TMPDIR"] = str(tmp_path)
    hooks.add("UserPromptSubmit", "seq 1 5000")
    hooks.add("UserPromptSubmit", "seq 1 5000", additionalContextLimit=0)
    client = trusting()
    client.turn(client.start_thread(**UNSAFE), "!say one")
    (_, cut), (_, whole) = asked(model)[-2:]
    assert len(whole.splitlines()) == 5000
    assert cut.startswith("Warning: truncated output (original token count: ")
    kept = Path(cut.rpartition("Full hook output saved to: ")[2])
    assert kept.read_text() == whole
    assert kept.parent.stat().st_mode & 0o077 == 0


def compacted(client, thread):
    since = client.mark()
    client.request("thread/compact/start", {"threadId": thread})
    end = client.wait_for("turn/completed", since=since)
    return [
        line.message for line in client.received(since=since) if not line.sent and line.index <= end.index
    ]


def test_hooks_stand_around_a_compaction(trusting, hooks):
    for event in ("PreCompact", "PostCompact", "SessionStart"):
        hooks.record(event)
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    client.turn(thread, "!say one")
    lines = compacted(client, thread)
    assert [run[0] for run in runs([line for line in lines if "method" in line])] == [
        "preCompact",
        "postCompact",
    ]
    client.turn(thread, "!say two")
    before, after = hooks.heard("PreCompact")[0], hooks.heard("PostCompact")[0]
    assert (before["trigger"], after["trigger"]) == ("manual", "manual")
    assert [one["source"] for one in hooks.heard("SessionStart")] == ["startup", "compact"]


def test_a_hook_forbids_a_compaction(trusting, hooks, model):
    hooks.add("PreCompact", says(**{"continue": False, "stopReason": "not now"}))
    hooks.record("Interrupt")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    client.turn(thread, "!say one")
    lines = compacted(client, thread)
    assert lines[-1]["params"]["turn"]["status"] == "interrupted"
    client.turn(thread, "!say two")
    assert asked(model) == [("user", "!say one"), ("assistant", "one"), ("user", "!say two")]
    assert hooks.heard() == []
