"""Hooks around each time that the model is asked: once before, once after, with how it went, as in Codex 0.169."""

from __future__ import annotations

import os

from hook_turns import UNSAFE, hooks, items, runs, says, trusting

__all__ = ["hooks", "trusting"]

COUNTED = {
    "input_tokens": 100,
    "cached_input_tokens": 20,
    "cache_write_input_tokens": 0,
    "output_tokens": 30,
    "reasoning_output_tokens": 5,
    "total_tokens": 130,
}
WHOLE = {"status": "completed", "error": None, "token_usage": COUNTED}
CANCELLED = {"status": "cancelled", "error": None, "token_usage": None}
CUT = "stream disconnected before completion: Transport error: network error: error decoding response body"


def told(hooks):
    """What the hooks got besides where they are, in order."""
    common = {"session_id", "turn_id", "transcript_path", "cwd", "model", "hook_event_name"}
    return [
        (one["hook_event_name"], {k: v for k, v in one.items() if k not in common}) for one in hooks.heard()
    ]


def around(outcome):
    return [("PreModelRequest", {}), ("PostModelRequest", outcome)]


def begins(line):
    """The item that a line says has begun."""
    return line["params"]["item"]["type"] if line.get("method") == "item/started" else None


def answering(line):
    return begins(line) == "agentMessage"


def after_it(line):
    return line.get("method") == "hook/completed" and line["params"]["run"]["eventName"] == "postModelRequest"


def ended(client, method, **params):
    """Ask for a turn of another kind; returns at its end."""
    since = client.mark()
    client.request(method, params)
    client.wait_for("turn/completed", since=since)


def interrupted(client, thread):
    """A turn that is interrupted while the model speaks."""
    turn = client.begin_turn(thread, "!hang")
    client.wait_for(answering)
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert client.end_of(turn)["status"] == "interrupted"


def record(hooks, then="true", **fields):
    hooks.record("PreModelRequest", then, **fields)
    hooks.record("PostModelRequest", then, **fields)


def test_each_request_has_one_before_and_one_after_it(trusting, hooks):
    record(hooks)
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    lines = client.turn(thread, "!run echo hi\n!then\n!say done")
    assert told(hooks) == around(WHOLE) * 2
    assert {one["turn_id"] for one in hooks.heard()} == {lines[-1]["params"]["turn"]["id"]}
    assert "permission_mode" not in hooks.heard()[0]
    shown = [event for event, status, said in runs(lines) if (status, said) == ("completed", [])]
    assert shown == ["preModelRequest", "postModelRequest"] * 2
    # They have heard of the answer before its tools run.
    begun = [begins(line) for line in lines]
    before = lines[: begun.index("commandExecution")]
    assert [event for event, *_ in runs(before)] == ["preModelRequest", "postModelRequest"]


def test_they_can_change_nothing_and_what_they_print_is_not_read(trusting, hooks, model):
    record(hooks, says(decision="block", reason="no", **{"continue": False}))
    hooks.add("PreModelRequest", "echo told >&2; exit 2")
    hooks.add("PreModelRequest", "exit 1")
    hooks.add("PostModelRequest", "kill -9 $$")
    client = trusting()
    lines = client.turn(client.start_thread(), "!say hi")
    assert items(lines) == ["userMessage", "agentMessage"]
    assert runs(lines) == [
        ("preModelRequest", "completed", []),
        ("preModelRequest", "failed", [("error", "told")]),
        ("preModelRequest", "failed", []),
        ("postModelRequest", "completed", []),
        ("postModelRequest", "failed", [("error", "hook exited without a status code")]),
    ]


def test_a_stream_that_is_opened_again_is_another_request(trusting, hooks):
    record(hooks)
    client = trusting("-c", "model_providers.scripted.stream_max_retries=1")
    client.turn(client.start_thread(), "!say x\n!cut-once")
    failed = {"status": "failed", "error": CUT, "token_usage": None}
    assert told(hooks) == around(failed) + around(WHOLE)


def test_a_request_that_fails_for_good_is_told_with_what_it_took(trusting, hooks):
    record(hooks)
    client = trusting()
    lines = client.turn(client.start_thread(), "!incomplete max_output_tokens")
    error = "Incomplete response returned, reason: max_output_tokens"
    assert lines[-1]["params"]["turn"]["error"]["message"] == error
    assert told(hooks) == around({"status": "failed", "error": error, "token_usage": COUNTED})
    methods = [line["method"] for line in lines]
    assert methods.index("error") > len(methods) - 1 - methods[::-1].index("hook/completed")


def test_one_that_nobody_waits_for_any_more_is_told_as_cancelled(trusting, hooks):
    record(hooks)
    client = trusting()
    thread = client.start_thread()
    interrupted(client, thread)
    client.wait_for(after_it)
    assert told(hooks) == around(CANCELLED)
    client.turn(thread, "!say on")
    assert told(hooks) == around(CANCELLED) + around(WHOLE)


def test_an_interrupted_turn_does_not_wait_for_them(trusting, hooks, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    hooks.add("PostModelRequest", f"read line < {go}")
    client = trusting()
    interrupted(client, client.start_thread())
    assert not client.received(after_it)
    go.write_text("now\n")
    client.wait_for(after_it)


def test_making_room_is_no_request_and_a_review_is_one(trusting, hooks):
    record(hooks)
    client = trusting()
    thread = client.start_thread()
    client.turn(thread, "!say something")
    ended(client, "thread/compact/start", threadId=thread)
    assert told(hooks) == around(WHOLE)
    ended(
        client,
        "review/start",
        threadId=thread,
        target={"type": "custom", "instructions": "!say looks good"},
        delivery="inline",
    )
    assert told(hooks) == around(WHOLE) * 2


def test_an_asynchronous_one_is_not_waited_for_nor_shown(trusting, hooks, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hooks.add("PreModelRequest", f"read line < {gate}; echo heard > {gate}", **{"async": True})
    client = trusting()
    assert runs(client.turn(client.start_thread(), "!say hi")) == []
    gate.write_text("go\n")
    assert gate.read_text() == "heard\n"
