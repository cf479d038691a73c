"""Hooks around commands, patches and other tools, and in place of the user's approval."""

from __future__ import annotations

import json
import shlex

import hook_turns
from hook_turns import RUN, UNSAFE, asked, items, runs, says

hooks = hook_turns.hooks
trusting = hook_turns.trusting


ASKS = {"sandbox": "read-only", "approvalPolicy": "on-request"}

ESCALATED = "!run-escalated echo hi\n!then\n!say done"


def answers(event, **fields):
    """A command that answers with what is specific for an event."""
    specific = {"hookSpecificOutput": {"hookEventName": event, **fields}}
    return f"echo {shlex.quote(json.dumps(specific))}"


def test_a_command_is_told_to_hooks_before_and_after(trusting, hooks, workspace):
    hooks.record("PreToolUse")
    hooks.record("PostToolUse")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    lines = client.turn(thread, RUN)
    turn = lines[-1]["params"]["turn"]["id"]
    before, after = hooks.heard()
    call = before["tool_use_id"]
    path = client.request("thread/read", {"threadId": thread})["thread"]["path"]
    shared = {
        "session_id": thread,
        "turn_id": turn,
        "transcript_path": path,
        "cwd": str(workspace),
        "model": before["model"],
        "permission_mode": "bypassPermissions",
        "tool_name": "Bash",
        "tool_input": {"command": "echo hi"},
        "tool_use_id": call,
    }
    assert before == {**shared, "hook_event_name": "PreToolUse"}
    assert after == {**shared, "hook_event_name": "PostToolUse", "tool_response": "hi\n"}
    seen = [line for line in lines if line["method"].startswith("hook/")]
    assert [line["params"]["run"]["id"] for line in seen] == [
        f"pre-tool-use:0:{hooks._file}:{call}",
        f"pre-tool-use:0:{hooks._file}:{call}",
        f"post-tool-use:1:{hooks._file}:{call}",
        f"post-tool-use:1:{hooks._file}:{call}",
    ]
    run = seen[1]["params"]["run"]
    assert (run["status"], run["scope"], run["executionMode"]) == ("completed", "turn", "sync")
    order = [line["method"] for line in lines if line["method"].startswith(("hook/", "item/started"))]
    assert order[1:4] == ["hook/started", "hook/completed", "item/started"]


def test_a_hook_keeps_a_command_from_running(trusting, hooks, workspace, model):
    hooks.record("PreToolUse", "echo no way >&2; exit 2")
    hooks.record("PostToolUse")
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), "!run touch made\n!then\n!say done")
    assert runs(lines) == [("preToolUse", "blocked", [("feedback", "no way")])]
    assert items(lines) == ["userMessage", "agentMessage"]
    assert not (workspace / "made").exists()
    assert asked(model)[-1] == (
        "output",
        "Command blocked by PreToolUse hook: no way. Command: touch made",
    )


def test_a_hook_that_fails_keeps_nothing_from_running(trusting, hooks, workspace):
    hooks.add("PreToolUse", "echo broken >&2; exit 1")
    hooks.add("PreToolUse", "echo '{nonsense'")
    hooks.add("PreToolUse", "kill -9 $$")
    hooks.add("PreToolUse", answers("PreToolUse", permissionDecision="ask"))
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), "!run touch made\n!then\n!say done")
    assert [run[2] for run in runs(lines)] == [
        [("error", "hook exited with code 1")],
        [("error", "hook returned invalid pre-tool-use JSON output")],
        [("error", "hook exited without a status code")],
        [("error", "PreToolUse hook returned unsupported permissionDecision:ask")],
    ]
    assert (workspace / "made").exists()


def test_a_hook_changes_what_is_run_and_tells_the_model(trusting, hooks, model):
    changed = {"permissionDecision": "allow", "updatedInput": {"command": "echo other"}}
    hooks.add("PreToolUse", answers("PreToolUse", **changed, additionalContext="changed"))
    hooks.record("PostToolUse")
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), RUN)
    [command] = [
        line["params"]["item"]
        for line in lines
        if line["method"] == "item/completed" and line["params"]["item"]["type"] == "commandExecution"
    ]
    assert command["aggregatedOutput"] == "other\n"
    [after] = hooks.heard()
    assert (after["tool_input"], after["tool_response"]) == ({"command": "echo other"}, "other\n")
    assert asked(model)[-2] == ("developer", "changed")


def test_a_hook_answers_in_place_of_a_command(trusting, hooks, model):
    hooks.add("PostToolUse", says(decision="block", reason="look again"))
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), RUN)
    assert runs(lines) == [("postToolUse", "blocked", [("feedback", "look again")])]
    assert asked(model)[-1] == ("output", "look again")


def test_a_command_that_goes_on_is_told_when_it_has_ended(trusting, hooks):
    hooks.record("PreToolUse")
    hooks.record("PostToolUse")
    client = trusting()
    client.turn(
        client.start_thread(**UNSAFE),
        '!start cat\n!then\n!stdin last hello\n!then\n!stdin last "\\u0004"\n!then\n!say done',
    )
    before, after = hooks.heard()
    assert after["tool_input"] == before["tool_input"] == {"command": "cat"}
    assert after["tool_use_id"] == before["tool_use_id"]
    assert isinstance(after["tool_response"], str)


def test_matchers_are_names_or_expressions(trusting, hooks):
    for matcher in ("Bash", "^Ba", "*", "", "Bash|view_image", "ash", "bash", "exec_command", "Ba|x"):
        hooks.record("PreToolUse", f"echo {shlex.quote(answers('PreToolUse'))} >/dev/null", matcher=matcher)
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), RUN)
    ran = [line["params"]["run"]["displayOrder"] for line in lines if line["method"] == "hook/started"]
    assert ran == [0, 1, 2, 3, 4]


def test_a_patch_goes_by_three_names(trusting, hooks, workspace):
    for matcher in ("apply_patch", "Edit", "Write", "Bash"):
        hooks.record("PreToolUse", matcher=matcher)
    client = trusting()
    thread = client.start_thread(**UNSAFE, model="gpt-5.5")
    patch = "*** Begin Patch\n*** Add File: a.txt\n+hello\n*** End Patch\n"
    client.turn(thread, f"!patch\n{patch}")
    assert [one["tool_name"] for one in hooks.heard()] == ["apply_patch"] * 3
    assert hooks.heard()[0]["tool_input"] == {"command": patch}
    assert (workspace / "a.txt").exists()


def test_a_tool_that_is_no_command_goes_by_its_own_name(trusting, hooks, model):
    hooks.record("PreToolUse", "echo no >&2; exit 2")
    client = trusting()
    client.turn(client.start_thread(**UNSAFE), "!view /x.png\n!tool nosuch {}\n!then\n!say done")
    [seen] = hooks.heard()
    assert (seen["tool_name"], seen["tool_input"]) == ("view_image", {"path": "/x.png"})
    assert asked(model)[-2:] == [
        ("output", "Tool call blocked by PreToolUse hook: no. Tool: view_image"),
        ("output", "unsupported call: nosuch"),
    ]


def questions(lines):
    return [line["method"] for line in lines if line["method"].endswith("/requestApproval")]


def test_a_hook_approves_in_the_user_s_place(trusting, hooks):
    hooks.record("PermissionRequest", answers("PermissionRequest", decision={"behavior": "allow"}))
    client = trusting()
    lines = client.turn(client.start_thread(**ASKS), ESCALATED)
    assert questions(lines) == []
    assert items(lines) == ["userMessage", "commandExecution", "agentMessage"]
    [seen] = hooks.heard()
    assert seen["tool_input"] == {
        "command": "echo hi",
        "description": "The script asks to run this outside the sandbox.",
    }
    assert seen["permission_mode"] == "default"


def test_a_hook_denies_in_the_user_s_place(trusting, hooks, model):
    denied = {"behavior": "deny", "message": "not here"}
    hooks.add("PermissionRequest", answers("PermissionRequest", decision=denied))
    client = trusting()
    thread = client.start_thread(**ASKS)
    lines = client.turn(thread, ESCALATED)
    assert items(lines) == ["userMessage", "agentMessage"]
    assert "not here" in asked(model)[-1][1]
    patch = "!patch\n*** Begin Patch\n*** Add File: a.txt\n+hello\n*** End Patch\n!then\n!say done"
    lines = client.turn(thread, patch)
    assert questions(lines) == []
    assert asked(model)[-1] == ("output", "not here")
