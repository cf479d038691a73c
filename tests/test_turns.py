"""Turns through the real door: items, tools, approvals, steering, instructions, both wire APIs."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from protocol_client import LATER

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PATCH = "!patch\n*** Begin Patch\n*** Add File: notes/hello.txt\n+hello\n*** End Patch\n!then\n!say Patched."


START_CAT = '!tool exec_command {"cmd": "cat", "tty": true, "yield_time_ms": 250}'


def always(decision):
    return lambda _method, _params: {"decision": decision}


def never(_method, _params):
    return LATER


def items(told, kind, method="item/completed"):
    return [
        line["params"]["item"]
        for line in told
        if line["method"] == method and line["params"]["item"]["type"] == kind
    ]


def methods(told):
    return [line["method"] for line in told]


def outputs(model):
    """What the model was given back by tools, newest request."""
    body = model.requests()[-1].body
    return [item["output"] for item in body["input"] if item.get("type", "").endswith("_output")]


def test_a_command_is_an_item_with_its_output_and_exit_code(server, model):
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, "!run echo out; echo err >&2; exit 3\n!then\n!say done")
    [item] = items(told, "commandExecution")
    assert (item["status"], item["exitCode"], item["aggregatedOutput"]) == ("failed", 3, "out\nerr\n")
    assert item["command"] == "/bin/bash -lc 'echo out; echo err >&2; exit 3'"
    [output] = outputs(model)
    assert "Process exited with code 3" in output
    assert output.endswith("out\nerr\n")


def test_a_slow_commands_output_streams_before_its_end(server):
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, "!run for i in 1 2 3; do echo tick $i; sleep 0.15; done\n!then\n!say done")
    deltas = [
        line["params"]["delta"] for line in told if line["method"] == "item/commandExecution/outputDelta"
    ]
    assert "".join(deltas) == "tick 1\ntick 2\ntick 3\n"
    assert len(deltas) > 1


def test_a_commands_time_out_ends_it_and_all_it_started(server):
    client = server()
    thread = client.start_thread()
    call = {"cmd": "echo begun; sleep 1000 & setsid sleep 1000", "timeout_ms": 300}
    told = client.turn(thread, f"!tool exec_command {json.dumps(call)}\n!then\n!say done")
    [item] = items(told, "commandExecution")
    assert (item["status"], item["exitCode"], item["aggregatedOutput"]) == ("failed", 124, "begun\n")


def test_a_flood_of_output_is_kept_at_head_and_tail_only(server):
    client = server()
    thread = client.start_thread()
    told = client.turn(
        thread, "!run echo first; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo last\n!then\n!say ok"
    )
    [item] = items(told, "commandExecution")
    output = item["aggregatedOutput"]
    assert output.startswith("first\n")
    assert output.endswith("last\n")
    assert "bytes omitted" in output
    assert len(output) < 1_100_000


def test_a_sandboxed_command_cannot_write_outside_of_the_workspace(server, workspace, tmp_path):
    client = server()
    thread = client.start_thread(
        sandbox="workspace-write",
        config={"sandbox_workspace_write": {"exclude_slash_tmp": True, "exclude_tmpdir_env_var": True}},
    )
    outside = tmp_path / "outside.txt"
    told = client.turn(thread, f"!run echo in > inside.txt; echo out > {outside}\n!then\n!say done")
    [item] = items(told, "commandExecution")
    assert item["exitCode"] != 0
    assert (workspace / "inside.txt").read_text() == "in\n"
    assert not outside.exists()


def test_a_read_only_thread_writes_nothing(server, workspace):
    client = server()
    thread = client.start_thread(sandbox="read-only")
    client.turn(thread, "!run echo in > inside.txt\n!then\n!say done")
    assert list(workspace.iterdir()) == []


def test_a_patch_changes_files_and_shows_the_diff_of_the_turn(server, workspace):
    client = server()
    thread = client.start_thread(sandbox="workspace-write")
    told = client.turn(thread, PATCH)
    assert (workspace / "notes/hello.txt").read_text() == "hello\n"
    [item] = items(told, "fileChange")
    assert item["status"] == "completed"
    assert item["changes"][0]["kind"] == {"type": "add"}
    diffs = [line["params"]["diff"] for line in told if line["method"] == "turn/diff/updated"]
    assert diffs
    assert diffs[-1].startswith("diff --git a/notes/hello.txt b/notes/hello.txt\nnew file mode 100644\n")


def test_a_patch_that_does_not_fit_is_told_to_the_model_and_makes_no_item(server, model, workspace):
    (workspace / "a.txt").write_text("other\n")
    client = server()
    thread = client.start_thread(sandbox="workspace-write")
    text = (
        "!patch\n*** Begin Patch\n*** Update File: a.txt\n@@\n-missing\n+new\n*** End Patch\n!then\n!say ok"
    )
    told = client.turn(thread, text)
    assert items(told, "fileChange") == []
    assert outputs(model)[0].startswith("apply_patch verification failed: Failed to find expected lines in")


@pytest.mark.parametrize(
    ("decision", "status", "written"),
    [("accept", "completed", True), ("decline", "declined", False), ("cancel", None, False)],
)
def test_a_patch_outside_of_the_sandbox_asks_first(server, workspace, decision, status, written):
    client = server(handler=always(decision))
    thread = client.start_thread(sandbox="read-only", approvalPolicy="on-request")
    told = client.turn(thread, PATCH)
    assert (workspace / "notes/hello.txt").exists() is written
    found = items(told, "fileChange")
    assert [item["status"] for item in found] == ([status] if status else [])
    ended = "interrupted" if decision == "cancel" else "completed"
    assert told[-1]["params"]["turn"]["status"] == ended


def test_an_approval_for_the_session_is_not_asked_again(server):
    asked = []

    def answer(_method, params):
        asked.append(params["command"])
        return {"decision": "acceptForSession"}

    client = server(handler=answer)
    thread = client.start_thread(sandbox="workspace-write", approvalPolicy="on-request")
    text = "!run-escalated echo again\n!then\n!say done"
    client.turn(thread, text)
    client.turn(thread, text)
    assert len(asked) == 1


def test_an_answer_that_is_none_fails_the_command_and_not_the_turn(server, model):
    client = server(handler=always("perhaps"))
    thread = client.start_thread(sandbox="workspace-write", approvalPolicy="on-request")
    told = client.turn(thread, "!run-escalated echo x\n!then\n!say done")
    assert items(told, "commandExecution")[0]["status"] == "failed"
    assert "approval request failed" in outputs(model)[0]
    assert told[-1]["params"]["turn"]["status"] == "completed"


def test_an_interrupt_withdraws_an_open_approval_after_the_turns_end(server):
    client = server(handler=never)
    thread = client.start_thread(sandbox="workspace-write", approvalPolicy="on-request")
    turn = client.begin_turn(thread, "!run-escalated echo x\n!then\n!say done")
    client.wait_for("item/commandExecution/requestApproval")
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    client.wait_for("serverRequest/resolved")
    order = [
        line.method
        for line in client.received()
        if line.method in ("turn/completed", "serverRequest/resolved")
    ]
    assert order == ["turn/completed", "serverRequest/resolved"]


def test_a_plan_and_a_picture(server, model, workspace):
    (workspace / "pic.png").write_bytes(PNG)
    client = server("-c", "tools.update_plan.enabled=true")
    thread = client.start_thread()
    told = client.turn(thread, "!plan [x] look; [>] think; [ ] act\n!view pic.png\n!then\n!say seen")
    [plan] = [line["params"]["plan"] for line in told if line["method"] == "turn/plan/updated"]
    assert [step["status"] for step in plan] == ["completed", "inProgress", "pending"]
    assert items(told, "imageView")[0]["path"] == str(workspace / "pic.png")
    assert outputs(model)[-1][0]["image_url"].startswith("data:image/png;base64,")


def test_a_terminal_is_written_to_and_goes_on_behind_the_conversation(server):
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, START_CAT + "\n!then\n!stdin last hello\n!then\n!say left it running")
    assert items(told, "commandExecution", "item/started")
    assert [
        line["params"]["stdin"].strip() for line in told if line["method"].endswith("terminalInteraction")
    ] == ["hello"]
    assert items(told, "commandExecution") == []


def test_steering_adds_input_to_the_running_turn(server, model):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, "!stream 2000 0.01")
    client.first_delta(thread)
    steered = client.request(
        "turn/steer",
        {"threadId": thread, "expectedTurnId": turn, "input": [{"type": "text", "text": "!say steered"}]},
    )
    assert steered == {"turnId": turn}
    ended = client.end_of(turn)
    assert (ended["status"], ended["items"][0]["text"]) == ("completed", "steered")


def test_the_models_errors_end_the_turn_and_not_the_thread(server):
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, '!status 400 {"error": {"message": "no"}}')
    ended = told[-1]["params"]["turn"]
    assert (ended["status"], ended["error"]["codexErrorInfo"]) == ("failed", "other")
    assert "error" in methods(told)
    assert client.turn(thread, "!say better")[-1]["params"]["turn"]["status"] == "completed"


def test_a_cut_stream_is_retried_and_said_so(server):
    client = server("-c", "model_providers.scripted.stream_max_retries=1")
    thread = client.start_thread()
    told = client.turn(thread, "!cut-once\n!say recovered")
    [error] = [line["params"] for line in told if line["method"] == "error"]
    assert (error["willRetry"], error["error"]["message"]) == (True, "Reconnecting... 1/1")
    assert told[-1]["params"]["turn"]["items"][0]["text"] == "recovered"


def test_agents_md_from_the_root_down_and_our_instructions_reach_the_model(server, model, workspace):
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    (workspace / "AGENTS.md").write_text("root rule")
    below = workspace / "src" / "deep"
    below.mkdir(parents=True)
    (below / "AGENTS.md").write_text("deep rule")
    client = server()
    started = client.request("thread/start", {"cwd": str(below)})
    assert started["instructionSources"] == [str(workspace / "AGENTS.md"), str(below / "AGENTS.md")]
    client.turn(started["thread"]["id"], "!say hi")
    body = model.requests()[-1].body
    text = json.dumps(body["input"])
    assert text.index("root rule") < text.index("deep rule")
    assert body["instructions"].startswith("You are a coding agent.")
    assert f"<cwd>{below}</cwd>" in text


def test_the_chat_completions_api_plays_the_same_turn(server, model, home, workspace):
    config = home / "config.toml"
    config.write_text(config.read_text().replace('wire_api = "responses"', 'wire_api = "chat"'))
    client = server()
    thread = client.start_thread(sandbox="workspace-write")
    told = client.turn(thread, "!think hm\n!say Let me look.\n!run echo hi\n!then\n!say It said hi.")
    assert [item["text"] for item in items(told, "agentMessage")] == ["Let me look.", "It said hi."]
    assert items(told, "commandExecution")[0]["aggregatedOutput"].endswith("hi\n")
    assert items(told, "reasoning")
    assert model.requests()[-1].path.endswith("/chat/completions")
    client.turn(thread, PATCH)
    assert (workspace / "notes/hello.txt").read_text() == "hello\n"


def test_the_users_version_stands_in_what_the_model_server_hears(server, model):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say hi")
    headers = model.requests()[-1].headers
    assert headers["user-agent"].startswith("tests/0.169.0 (")
    assert headers["originator"] == "tests"


def test_a_thread_lives_on_after_the_servers_restart(server, model):
    first = server()
    thread = first.start_thread()
    first.turn(thread, "Remember the number 4711.\n!say noted")
    first.close()
    second = server()
    resumed = second.request("thread/resume", {"threadId": thread})
    assert [turn["status"] for turn in resumed["thread"]["turns"]] == ["completed"]
    second.turn(thread, "And?\n!say 4711")
    assert "4711" in json.dumps(model.requests()[-1].body["input"])


def test_an_ephemeral_thread_is_not_stored(server, home):
    client = server()
    thread = client.start_thread(ephemeral=True)
    client.turn(thread, "!say gone soon")
    assert client.request("thread/list", {})["data"] == []
    assert not list(Path(home).glob("sessions/**/*.jsonl"))


def test_a_wrong_setting_is_told_with_file_line_and_key(server, home):
    config = home / "config.toml"
    client = server()
    config.write_text('model = "m"\n\n[sandbox_workspace_write]\nnetwork_access = "yes"\n')
    with pytest.raises(Exception, match=r"config\.toml:4:.*sandbox_workspace_write\.network_access"):
        client.request("thread/start", {})


def test_plan_mode_makes_the_proposed_plan_an_item(server):
    client = server()
    thread = client.start_thread()
    mode = {"mode": "plan", "settings": {"model": "gpt-5.5"}}
    told = client.turn(
        thread,
        "!say <<END\nIntro\n<proposed_plan>\n- one\n</proposed_plan>\nOutro\nEND",
        collaborationMode=mode,
    )
    assert items(told, "plan")[0]["text"] == "- one\n"
    assert items(told, "agentMessage")[0]["text"].replace("\n", " ").split() == ["Intro", "Outro"]
    assert "item/plan/delta" in methods(told)


def test_a_model_error_ends_the_calls_of_its_response(server, model):
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, "!run echo begun; sleep 1000\n!fail insufficient_quota No more for today.")
    [end] = [line["params"]["turn"] for line in told if line["method"] == "turn/completed"]
    assert (end["status"], end["error"]["codexErrorInfo"]) == ("failed", "usageLimitExceeded")
    assert len(items(told, "commandExecution")) == len(items(told, "commandExecution", "item/started")) == 1
    client.turn(thread, "!say Go on.")
    # Each call has its output in the history, or the API would refuse the request.
    assert len(outputs(model)) == 1


def test_the_projects_modules_are_not_the_servers(server, workspace):
    trap = "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\nraise SystemExit(1)\n"
    (workspace / "workers").mkdir()
    for name in ("workers/__init__.py", "secrets.py", "msgspec.py", "sitecustomize.py"):
        (workspace / name).write_text(trap)
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, "!run echo fine\n!then\n!say done")
    assert items(told, "commandExecution")[0]["aggregatedOutput"] == "fine\n"
    assert not list(workspace.rglob("imported"))
