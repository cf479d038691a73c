"""What clients do around the turns of a loaded thread: compaction, reviews, commands of the user's own, settings."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest
from protocol_client import RpcError
from running_server import write_config
from test_turns import items, methods

HANG = "!say begun\n!hang"


def texts(model, role="user", number=-1):
    """What the model was sent of one role, in the newest request or another one."""
    body = model.requests()[number].body
    return [
        part.get("text", "")
        for item in body["input"]
        if item.get("type") == "message" and item["role"] == role
        for part in item["content"]
    ]


def told_of(client, since, turn):
    client.end_of(turn, since=since)
    return [
        line.message for line in client.received(since=since) if line.message and "method" in line.message
    ]


def started(client, since):
    """The id of the turn that begins next."""
    return client.wait_for("turn/started", since=since).params["turn"]["id"]


def refusal(client, method, **params):
    with pytest.raises(RpcError) as refused:
        client.request(method, params)
    return refused.value


# --- compaction ---------------------------------------------------------------------------------------------


def test_a_compaction_is_a_turn_and_what_the_user_said_stays(server, model):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "remember the number 42\n!say noted")
    since = client.mark()
    assert client.request("thread/compact/start", {"threadId": thread}) == {}
    told = told_of(client, since, started(client, since))
    assert [item["type"] for item in items(told, "contextCompaction")] == ["contextCompaction"]
    assert told[-1]["params"]["turn"]["itemsView"] == "notLoaded"
    client.turn(thread, "!say after")
    said = texts(model)
    assert "remember the number 42\n!say noted" in said
    assert not any("noted" in text for text in texts(model, "assistant"))


def test_a_running_compaction_takes_no_input_and_can_be_interrupted(server, home):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # A model that takes the request and never answers.
        write_config(home, f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        client = server()
        thread = client.start_thread()
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "long"}]}
        client.request("thread/inject_items", {"threadId": thread, "items": [item]})
        compaction_refuses_input(client, thread)


def compaction_refuses_input(client, thread):
    since = client.mark()
    client.request("thread/compact/start", {"threadId": thread})
    turn = started(client, since)
    refused = refusal(client, "turn/start", threadId=thread, input=[{"type": "text", "text": "hi"}])
    assert (refused.code, refused.message) == (
        -32603,
        "failed to submit turn input: ActiveTurnNotSteerable { turn_kind: Compact }",
    )
    refused = refusal(
        client, "turn/steer", threadId=thread, expectedTurnId=turn, input=[{"type": "text", "text": "hi"}]
    )
    assert refused.data["codexErrorInfo"] == {"activeTurnNotSteerable": {"turnKind": "compact"}}
    assert client.request("turn/interrupt", {"threadId": thread, "turnId": turn}) == {}
    assert client.end_of(turn, since=since)["status"] == "interrupted"


def test_a_compaction_takes_the_place_of_a_running_turn(server, home):
    client = server()
    thread = client.start_thread()
    since = client.mark()
    turn = client.begin_turn(thread, "!say begun\n!then\n!say never")
    client.end_of(turn, since=since)
    turn = client.begin_turn(thread, "!stream 1000 0.05")
    client.first_delta(thread, since=since)
    client.start_request("thread/compact/start", {"threadId": thread})
    assert client.end_of(turn, since=since)["status"] == "interrupted"
    [rollout] = (home / "sessions").rglob("*.jsonl")
    assert '"reason":"replaced"' in rollout.read_text()


def test_a_turn_that_fills_the_window_is_compacted_in_the_middle(server, model, home):
    config = home / "config.toml"
    config.write_text("model_auto_compact_token_limit = 1000\n" + config.read_text())
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, "!run echo one\n!usage 5000 10\n!then\n!say done")
    order = [line["params"]["item"]["type"] for line in told if line["method"] == "item/completed"]
    assert order == ["userMessage", "commandExecution", "contextCompaction", "agentMessage"]


# --- the user's own commands ------------------------------------------------------------------------------------


def test_a_command_of_the_users_own_is_a_turn_without_the_model(server, model):
    client = server()
    thread = client.start_thread(sandbox="read-only")
    since = client.mark()
    assert client.request("thread/shellCommand", {"threadId": thread, "command": "echo mine; exit 3"}) == {}
    told = told_of(client, since, started(client, since))
    [item] = items(told, "commandExecution")
    assert (item["source"], item["status"], item["exitCode"]) == ("userShell", "failed", 3)
    assert item["aggregatedOutput"] == "mine\n"
    assert "item/commandExecution/outputDelta" in methods(told)
    assert len(model.requests()) == 0
    client.turn(thread, "!say I saw it")
    assert any("<command>\necho mine; exit 3\n</command>" in text for text in texts(model))


def test_it_runs_outside_of_the_sandbox_and_ends_at_its_time_out(server, workspace):
    client = server()
    thread = client.start_thread(sandbox="read-only")
    since = client.mark()
    command = "echo written > file; sleep 1000"
    client.request("thread/shellCommand", {"threadId": thread, "command": command, "timeoutMs": 1500})
    told = told_of(client, since, started(client, since))
    assert [item["exitCode"] for item in items(told, "commandExecution")] == [124]
    assert (workspace / "file").read_text() == "written\n"


def test_it_joins_a_running_turn_and_the_model_hears_of_it(server, model):
    client = server()
    thread = client.start_thread()
    since = client.mark()
    turn = client.begin_turn(thread, "!stream 20 0.05\n!say end")
    client.first_delta(thread)
    client.request("thread/shellCommand", {"threadId": thread, "command": "echo during"})
    told = told_of(client, since, turn)
    assert methods(told).count("turn/started") == 1
    assert [item["source"] for item in items(told, "commandExecution")] == ["userShell"]
    assert any("echo during" in text for text in texts(model))


def test_what_the_user_says_while_only_his_own_command_runs_is_answered_after_it(server, workspace, model):
    client = server()
    thread = client.start_thread()
    since = client.mark()
    # Both wait for a file, and end without one only where nobody makes it.
    waiting = "for _ in $(seq 600); do test -e {} && break; sleep 0.05; done"
    turn = client.begin_turn(thread, f"!run {waiting.format('model')}\n!then\n!say done")
    client.wait_for("turn/started", since=since)
    client.request("thread/shellCommand", {"threadId": thread, "command": waiting.format("own")})
    (workspace / "model").touch()
    spoke = client.wait_for(
        lambda m: m.get("method") == "item/completed" and m["params"]["item"].get("text") == "done",
        since=since,
    )
    client.wait_for("account/rateLimits/updated", since=spoke.index)
    say = [{"type": "text", "text": "!say heard"}]
    client.request("turn/steer", {"threadId": thread, "expectedTurnId": turn, "input": say})
    (workspace / "own").touch()
    told = told_of(client, since, turn)
    assert [item["text"] for item in items(told, "agentMessage")] == ["done", "heard"]
    assert "!say heard" in texts(model)


def test_an_interrupt_while_a_failed_turn_ends_its_commands_is_answered_by_its_end(server):
    client = server()
    thread = client.start_thread()
    since = client.mark()
    turn = client.begin_turn(thread, "!stream 10 0.05\n!fail invalid_prompt no")
    client.first_delta(thread)
    stubborn = "trap 'echo asked to end' TERM; while :; do sleep 0.05; done"
    client.request("thread/shellCommand", {"threadId": thread, "command": stubborn})
    client.wait_for(
        lambda m: (
            m.get("method") == "item/commandExecution/outputDelta" and "asked to end" in m["params"]["delta"]
        ),
        since=since,
        what="the end of the command being asked for",
    )
    say = [{"type": "text", "text": "!say lost"}]
    late = refusal(client, "turn/steer", threadId=thread, expectedTurnId=turn, input=say)
    assert late.message == "no active turn to steer"
    assert client.request("turn/interrupt", {"threadId": thread, "turnId": turn}) == {}
    [end] = client.ends_of(turn)
    assert (end["status"], end["error"]["message"]) == ("failed", "no")
    assert client.turn(thread, "!say on")[-1]["params"]["turn"]["status"] == "completed"


def test_an_empty_command_is_refused(server):
    client = server()
    refused = refusal(client, "thread/shellCommand", threadId=client.start_thread(), command=" ")
    assert (refused.code, refused.message) == (-32600, "command must not be empty")


# --- items ---------------------------------------------------------------------------------------------------


def test_injected_items_are_sent_to_the_model(server, model):
    client = server()
    thread = client.start_thread()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "injected"}]}
    assert client.request("thread/inject_items", {"threadId": thread, "items": [item]}) == {}
    client.turn(thread, "!say done")
    said = texts(model)
    assert said.index("injected") < said.index("!say done")
    assert said[0].startswith("<environment_context>")


def test_an_injected_call_without_an_output_was_aborted(server, model):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    call = {"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": "call_1"}
    stray = {"type": "function_call_output", "call_id": "call_2", "output": "of no call"}
    client.request("thread/inject_items", {"threadId": thread, "items": [call, stray]})
    client.turn(thread, "!say done")
    sent = [item for item in model.requests()[-1].body["input"] if "call_id" in item]
    assert sent == [call, {"type": "function_call_output", "call_id": "call_1", "output": "aborted"}]


@pytest.mark.parametrize(
    ("injected", "message"),
    [
        ([], "items must not be empty"),
        ([{"type": "message"}], "items[0] is not a valid response item: missing field `role`"),
        (
            ["x"],
            (
                'items[0] is not a valid response item: invalid type: string "x", '
                "expected internally tagged enum ResponseItem"
            ),
        ),
    ],
)
def test_what_is_no_item_is_refused(server, injected, message):
    client = server()
    refused = refusal(client, "thread/inject_items", threadId=client.start_thread(), items=injected)
    assert (refused.code, refused.message) == (-32600, message)


# --- settings --------------------------------------------------------------------------------------------------


def test_settings_are_told_when_they_change_and_hold_for_later_turns(server, model):
    client = server()
    thread = client.start_thread()
    since = client.mark()
    change = {
        "model": "gpt-5.5",
        "effort": "low",
        "serviceTier": "fast",
        "summary": "detailed",
        "cwd": "/tmp",
    }
    client.request("thread/settings/update", {"threadId": thread, **change})
    client.request("thread/settings/update", {"threadId": thread, **change})
    client.turn(thread, "!say done")
    [told] = [
        line.params["threadSettings"] for line in client.received("thread/settings/updated", since=since)
    ]
    assert (told["effort"], told["serviceTier"], told["cwd"]) == ("low", "priority", "/tmp")
    assert told["collaborationMode"]["settings"]["reasoning_effort"] == "low"
    body = model.requests()[-1].body
    assert (body["reasoning"], body["service_tier"]) == ({"effort": "low", "summary": "detailed"}, "priority")


def test_a_turns_overrides_stick_and_a_tier_for_the_turn_does_not(server, model):
    client = server()
    thread = client.start_thread()
    schema = {"type": "object", "properties": {}}
    client.turn(thread, "!say 1", effort="high", serviceTierForTurn="flex", outputSchema=schema)
    first = model.requests()[-1].body
    client.turn(thread, "!say 2", personality="friendly")
    second = model.requests()[-1].body
    assert (first["service_tier"], first["text"]["format"]["schema"]) == ("flex", schema)
    assert "service_tier" not in second
    assert "format" not in second.get("text", {})
    assert first["reasoning"]["effort"] == second["reasoning"]["effort"] == "high"
    assert sum("warm" in text for text in texts(model, "developer")) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [(":workspace", "workspaceWrite"), (":danger-full-access", "dangerFullAccess")]
)
def test_a_thread_starts_with_permissions_by_name(server, name, kind):
    client = server()
    begun = client.request("thread/start", {"permissions": name})
    assert begun["sandbox"]["type"] == kind
    assert begun["activePermissionProfile"] == {"id": name, "extends": None}
    assert "unknown built-in profile" in refusal(client, "thread/start", permissions=":nope").message


def test_permissions_by_name_exclude_a_sandbox_policy(server):
    client = server()
    thread = client.start_thread()
    both = {"permissions": ":workspace", "sandboxPolicy": {"type": "readOnly"}}
    refused = refusal(client, "thread/settings/update", threadId=thread, **both)
    assert refused.message == "`permissions` cannot be combined with `sandboxPolicy`"
    since = client.mark()
    client.request("thread/settings/update", {"threadId": thread, "permissions": ":workspace"})
    told = client.wait_for("thread/settings/updated", since=since).params["threadSettings"]
    assert told["sandboxPolicy"]["type"] == "workspaceWrite"
    assert told["activePermissionProfile"] == {"id": ":workspace", "extends": None}


# --- terminals in the background ----------------------------------------------------------------------------------


def test_commands_in_the_background_are_listed_and_ended(server):
    client = server()
    thread = client.start_thread()
    for number in (1, 2, 3):
        call = json.dumps({"cmd": f"sleep 100{number}", "yield_time_ms": 250})
        client.turn(thread, f"!tool exec_command {call}\n!then\n!say done")
    first = client.request("thread/backgroundTerminals/list", {"threadId": thread, "limit": 2})
    rest = client.request(
        "thread/backgroundTerminals/list", {"threadId": thread, "cursor": first["nextCursor"]}
    )
    rows = first["data"] + rest["data"]
    assert [row["command"] for row in rows] == ["sleep 1001", "sleep 1002", "sleep 1003"]
    assert rest["nextCursor"] is None

    since = client.mark()
    end = {"threadId": thread, "processId": rows[1]["processId"]}
    assert client.request("thread/backgroundTerminals/terminate", end) == {"terminated": True}
    item = client.wait_for("item/completed", since=since).params["item"]
    assert (item["id"], item["status"]) == (rows[1]["itemId"], "failed")
    assert client.request("thread/backgroundTerminals/terminate", end) == {"terminated": False}

    client.request("thread/backgroundTerminals/clean", {"threadId": thread})
    left = client.request("thread/backgroundTerminals/list", {"threadId": thread})
    assert left == {"data": [], "nextCursor": None}
    refused = refusal(client, "thread/backgroundTerminals/terminate", threadId=thread, processId="nope")
    assert refused.message == "invalid background terminal process id: invalid digit found in string"


# --- reviews -----------------------------------------------------------------------------------------------------


def review(client, thread, instructions):
    return client.request(
        "review/start",
        {
            "threadId": thread,
            "target": {"type": "custom", "instructions": instructions},
            "delivery": "inline",
        },
    )["turn"]


def test_a_reviews_findings_are_told_and_the_model_knows_them(server, model):
    client = server()
    thread = client.start_thread()
    finding = {
        "title": "[P1] Off by one",
        "body": "It stops early.\nAlways.",
        "code_location": {"absolute_file_path": "/x/a.py", "line_range": {"start": 1, "end": 2}},
    }
    answer = json.dumps({"findings": [finding], "overall_explanation": "There is a bug."})
    since = client.mark()
    turn = review(client, thread, f"!run echo looked\n!then\n!say {answer}")
    told = told_of(client, since, turn["id"])
    text = (
        "There is a bug.\n\nReview comment:\n\n- [P1] Off by one — /x/a.py:1-2\n  It stops early.\n  Always."
    )
    assert [item["review"] for item in items(told, "exitedReviewMode")] == [text]
    assert [item["text"] for item in items(told, "agentMessage")] == [text]
    assert len(items(told, "commandExecution")) == 1
    # The reviewer sees nothing of the conversation, and the conversation only what came of it.
    client.turn(thread, "!say fixed")
    assert any(text in said for said in texts(model))
    assert not any("echo looked" in json.dumps(item) for item in model.requests()[-1].body["input"])
    shown = client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"]["turns"]
    assert [item["type"] for item in shown[0]["items"]] == [
        "enteredReviewMode",
        "exitedReviewMode",
        "agentMessage",
    ]


def test_a_reviewer_is_told_where_it_works_however_long_the_thread_has_known(server, model):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    since = client.mark()
    told_of(client, since, review(client, thread, "!say fine")["id"])
    assert [said.split("\n")[0] for said in texts(model)] == ["<environment_context>", "!say fine"]


@pytest.mark.parametrize("which", ["outer", "inner"])
def test_a_review_is_interrupted_by_either_of_its_ids(server, which):
    client = server()
    thread = client.start_thread()
    since = client.mark()
    outer = review(client, thread, HANG)["id"]
    inner = started(client, since)
    assert inner != outer
    client.wait_for(
        lambda m: m.get("method") == "item/started" and m["params"]["item"]["type"] == "agentMessage",
        since=since,
    )
    refused = refusal(
        client, "turn/steer", threadId=thread, expectedTurnId=outer, input=[{"type": "text", "text": "x"}]
    )
    assert refused.message == "cannot steer a review turn"
    named = outer if which == "outer" else inner
    assert client.request("turn/interrupt", {"threadId": thread, "turnId": named}) == {}
    assert client.end_of(outer, since=since)["status"] == "interrupted"
    told = told_of(client, since, outer)
    assert [item["review"] for item in items(told, "exitedReviewMode")] == [
        "Reviewer failed to output a response."
    ]


def test_a_review_of_a_branch_names_the_merge_base(server, workspace):
    def git(*words):
        settings = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *settings, *words], cwd=workspace, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "base")
    base = git("rev-parse", "HEAD")
    git("checkout", "-q", "-b", "feature")
    git("commit", "-q", "--allow-empty", "-m", "change")
    client = server()
    thread = client.start_thread()
    since = client.mark()
    target = {"type": "baseBranch", "branch": "main"}
    turn = client.request("review/start", {"threadId": thread, "target": target})["turn"]
    assert turn["items"][0]["content"][0]["text"] == "changes against 'main'"
    told = told_of(client, since, turn["id"])
    [asked] = items(told, "userMessage")
    assert f"git diff {base}" in asked["content"][0]["text"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"type": "custom", "instructions": " "}, "instructions must not be empty"),
        ({"type": "commit", "sha": ""}, "sha must not be empty"),
        ({"type": "baseBranch", "branch": " "}, "branch must not be empty"),
    ],
)
def test_a_review_of_nothing_is_refused(server, target, message):
    client = server()
    assert refusal(client, "review/start", threadId=client.start_thread(), target=target).message == message
