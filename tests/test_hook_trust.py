"""Which hooks run: trusted ones, of trusted projects, not turned off."""

from __future__ import annotations

import json

import hook_turns
from hook_turns import UNSAFE, runs

hooks = hook_turns.hooks
trusting = hook_turns.trusting


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
