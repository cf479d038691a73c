"""The user's hooks run where Codex 0.169 runs them, once they are trusted, and what they answer counts."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

RUN = "!run echo hi\n!then\n!say done"
UNSAFE = {"sandbox": "danger-full-access", "approvalPolicy": "never"}
ASKS = {"sandbox": "read-only", "approvalPolicy": "on-request"}
ESCALATED = "!run-escalated echo hi\n!then\n!say done"


def answers(event, **fields):
    """A command that answers with what is specific for an event."""
    specific = {"hookSpecificOutput": {"hookEventName": event, **fields}}
    return f"echo {shlex.quote(json.dumps(specific))}"


def says(**fields):
    return f"echo {shlex.quote(json.dumps(fields))}"


class Hooks:
    """Hooks of a home. `record(event)` notes what the hook got, and then does something."""

    def __init__(self, home: Path, notes: Path) -> None:
        self._file = home / "hooks.json"
        self._notes = notes
        self._hooks: dict[str, list] = {}

    def add(self, event, command, *, matcher=None, **fields):
        self.add_handler(event, {"type": "command", "command": command, **fields}, matcher=matcher)

    def add_handler(self, event, handler, *, matcher=None):
        group = {"hooks": [handler]}
        if matcher is not None:
            group["matcher"] = matcher
        self._hooks.setdefault(event, []).append(group)
        self._file.write_text(json.dumps({"hooks": self._hooks}))

    def record(self, event, then="true", **fields):
        # One write, as several may note at once.
        self.add(event, f"printf '%s\\n' \"$(cat)\" >> {self._notes}; {then}", **fields)

    def heard(self, event=None):
        if not self._notes.exists():
            return []
        said = [json.loads(line) for line in self._notes.read_text().splitlines() if line.strip()]
        return [one for one in said if event is None or one["hook_event_name"] == event]

    @staticmethod
    def trust(client):
        for hook in client.request("hooks/list", {})["data"][0]["hooks"]:
            state = {hook["key"]: {"trusted_hash": hook["currentHash"]}}
            edit = {"keyPath": "hooks.state", "value": state, "mergeStrategy": "upsert"}
            client.request("config/batchWrite", {"edits": [edit]})


@pytest.fixture
def hooks(home, tmp_path):
    return Hooks(home, tmp_path / "notes.jsonl")


@pytest.fixture
def trusting(server, hooks):
    """A server whose user trusts all hooks there are by now."""

    def start(*arguments):
        client = server(*arguments)
        hooks.trust(client)
        return client

    return start


def runs(lines):
    """The hook runs of a turn that ended: event, status and what they said."""
    return [
        (run["eventName"], run["status"], [(entry["kind"], entry["text"]) for entry in run["entries"]])
        for run in (line["params"]["run"] for line in lines if line["method"] == "hook/completed")
    ]


def items(lines):
    done = [line["params"]["item"] for line in lines if line["method"] == "item/completed"]
    return [item["type"] for item in done]


def asked(model):
    """What the model was asked last: roles and texts, and outputs of calls."""
    request = [one for one in model.requests() if one.path.endswith("/responses")][-1]
    said = []
    for item in request.body["input"]:
        if item["type"] == "message":
            said += [(item["role"], part["text"]) for part in item["content"]]
        elif item["type"].endswith("_output"):
            said.append(("output", item["output"]))
    return [one for one in said if not one[1].startswith(("<environment", "<permissions", "<skills"))]


# --- trust ----------------------------------------------------------------------------------------------------------


def test_a_hook_runs_only_as_it_was_trusted(server, hooks):
    hooks.record("UserPromptSubmit")
    client = server()
    [shown] = client.request("hooks/list", {})["data"][0]["hooks"]
    assert (shown["eventName"], shown["trustStatus"], shown["source"]) == (
        "userPromptSubmit",
        "untrusted",
        "user",
    )
    lines = client.turn(client.start_thread(**UNSAFE), "!say hello")
    assert runs(lines) == []
    assert hooks.heard() == []

    hooks.trust(client)
    assert client.request("hooks/list", {})["data"][0]["hooks"][0]["trustStatus"] == "trusted"
    lines = client.turn(client.start_thread(**UNSAFE), "!say hello")
    assert runs(lines) == [("userPromptSubmit", "completed", [])]
    assert len(hooks.heard()) == 1

    hooks.record("UserPromptSubmit", timeout=5)
    changed = json.loads(hooks._file.read_text())
    changed["hooks"]["UserPromptSubmit"][0]["hooks"][0]["timeout"] = 7
    hooks._file.write_text(json.dumps(changed))
    first, second = client.request("hooks/list", {})["data"][0]["hooks"]
    assert (first["trustStatus"], second["trustStatus"]) == ("modified", "untrusted")
    assert runs(client.turn(client.start_thread(**UNSAFE), "!say hello")) == []


def test_a_client_can_vouch_for_a_thread_s_hooks_and_nothing_else_can(server, hooks, home, workspace):
    hooks.record("UserPromptSubmit")
    with (home / "config.toml").open("a") as file:
        file.write(f'\n[projects."{workspace}"]\ntrust_level = "trusted"\n')
    client = server()
    key, current = (
        client.request("hooks/list", {})["data"][0]["hooks"][0][name] for name in ("key", "currentHash")
    )
    (workspace / ".codex").mkdir()
    (workspace / ".codex" / "config.toml").write_text(
        f'bypass_hook_trust = true\n[hooks.state."{key}"]\ntrusted_hash = "{current}"\n'
    )
    assert runs(client.turn(client.start_thread(**UNSAFE), "!say hello")) == []
    vouched = client.start_thread(**UNSAFE, config={"bypass_hook_trust": True})
    assert len(runs(client.turn(vouched, "!say hello"))) == 1


def test_a_project_s_hooks_are_those_of_a_trusted_project(trusting, hooks, home, workspace):
    (workspace / ".codex").mkdir()
    own = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}}
    (workspace / ".codex" / "hooks.json").write_text(json.dumps(own))
    client = trusting()
    assert client.request("hooks/list", {})["data"][0]["hooks"] == []
    with (home / "config.toml").open("a") as file:
        file.write(f'\n[projects."{workspace}"]\ntrust_level = "trusted"\n')
    [shown] = client.request("hooks/list", {})["data"][0]["hooks"]
    assert (shown["source"], shown["trustStatus"]) == ("project", "untrusted")
    assert runs(client.turn(client.start_thread(**UNSAFE), "!say hello")) == []


def test_hooks_can_be_turned_off_one_by_one_and_all_together(trusting, hooks, home):
    hooks.record("Stop")
    hooks.record("UserPromptSubmit")
    client = trusting()
    keys = [hook["key"] for hook in client.request("hooks/list", {})["data"][0]["hooks"]]
    edit = {"keyPath": "hooks.state", "value": {keys[0]: {"enabled": False}}, "mergeStrategy": "upsert"}
    client.request("config/batchWrite", {"edits": [edit]})
    assert [run[0] for run in runs(client.turn(client.start_thread(**UNSAFE), "!say x"))] == ["stop"]
    off = client.start_thread(**UNSAFE, config={"features.hooks": False})
    assert runs(client.turn(off, "!say x")) == []


def test_mistakes_in_a_hooks_file_are_told_and_cost_only_themselves(server, hooks):
    hooks.add("PreToolUse", "true", matcher="(")
    hooks.add("Stop", "  ")
    hooks.add("Stop", "true")
    client = server()
    entry = client.request("hooks/list", {})["data"][0]
    assert [hook["eventName"] for hook in entry["hooks"]] == ["stop"]
    path = hooks._file
    assert entry["warnings"] == [
        f'invalid matcher "(" in {path}: missing ), unterminated subpattern at position 0',
        f"skipping empty hook command in {path}",
    ]
    since = client.mark()
    client.start_thread(**UNSAFE)
    assert client.wait_for("warning", since=since).params["message"] == entry["warnings"][0]
    path.write_text("{nonsense")
    entry = client.request("hooks/list", {})["data"][0]
    assert entry["hooks"] == []
    assert entry["warnings"][0].startswith(f"failed to parse hooks config {path}: ")


# --- tools ----------------------------------------------------------------------------------------------------------


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


# --- approvals ------------------------------------------------------------------------------------------------------


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


# --- the conversation -----------------------------------------------------------------------------------------------


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


# --- making room ----------------------------------------------------------------------------------------------------


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


# --- ends -----------------------------------------------------------------------------------------------------------


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
