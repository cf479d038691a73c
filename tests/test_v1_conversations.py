"""The old protocol through the real door: conversations, events, approvals, as old clients use them."""

from __future__ import annotations

import base64
import tomllib

import pytest
from protocol_client import RpcError
from running_server import RunningServer

ESCALATE = "!run-escalated echo ran > ran.txt\n!then\n!say done"
PATCH = "!patch\n*** Begin Patch\n*** Add File: new.txt\n+one\n*** End Patch\n!then\n!say done"


def begin(client: RunningServer, *, listen: bool = True, **params: object) -> str:
    """A new conversation; its id."""
    started = client.request("newConversation", {"cwd": str(client.cwd), **params})
    if listen:
        client.request("addConversationListener", {"conversationId": started["conversationId"]})
    return str(started["conversationId"])


def say(client: RunningServer, conversation: str, text: str) -> None:
    items = [{"type": "text", "data": {"text": text}}]
    assert client.request("sendUserMessage", {"conversationId": conversation, "items": items}) == {}


def events(client: RunningServer, last: str, *, since: int = 0) -> list[dict]:
    """Events up to one of the type `last`, as (turn, message)."""
    client.wait_for(f"codex/event/{last}", since=since)
    lines = client.received(since=since)
    found = [line.params for line in lines if (line.method or "").startswith("codex/event/")]
    types = [event["msg"]["type"] for event in found]
    return found[: types.index(last) + 1]


def types(told: list[dict]) -> list[str]:
    return [event["msg"]["type"] for event in told]


def test_a_message_and_its_events(server):
    client = server()
    conversation = begin(client)
    say(client, conversation, "!say hello there")
    told = events(client, "task_complete")
    assert {(event["id"], event["conversationId"]) for event in told} == {("0", conversation)}
    kinds = [kind for kind in types(told) if "delta" not in kind and kind != "warning"]
    assert kinds == [
        "task_started", "item_started", "item_completed", "user_message", "token_count",
        "item_started", "item_completed", "agent_message", "token_count", "task_complete",
    ]  # fmt: skip
    assert told[-1]["msg"]["last_agent_message"] == "hello there"
    counts = [event["msg"] for event in told if event["msg"]["type"] == "token_count"]
    assert counts[0]["info"] is None
    assert counts[1]["info"]["last_token_usage"].keys() == {
        "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens",
    }  # fmt: skip
    say(client, conversation, "!say again")
    again = events(client, "task_complete", since=client.wait_for("codex/event/task_complete").index + 1)
    assert {event["id"] for event in again} == {"1"}
    # The answer to the message comes before its events.
    lines = client.received()
    methods = [line.method or "" for line in lines]
    assert lines[methods.index("codex/event/task_started") - 1].message["result"] == {}


def test_who_does_not_listen_hears_nothing(server):
    client = server()
    conversation = begin(client, listen=False)
    subscription = client.request("addConversationListener", {"conversationId": conversation})
    assert client.request("removeConversationListener", subscription) == {}
    say(client, conversation, "!hang")
    client.request("interruptConversation", {"conversationId": conversation})  # there was a turn, unheard
    assert not [line for line in client.received() if (line.method or "").startswith(("codex/", "item/"))]
    for method, params, text in [
        ("removeConversationListener", subscription, "subscription not found: "),
        ("addConversationListener", {"conversationId": "no"}, "conversation not found: no"),
        ("sendUserMessage", {"conversationId": "no", "items": []}, "conversation not found: no"),
        ("sendUserMessage", {"conversationId": "no"}, "Invalid request: missing field `items`"),
        ("newConversation", {"profile": "x"}, "a profile is chosen when the server starts"),
    ]:
        with pytest.raises(RpcError, match=text):
            client.request(method, params)


def test_a_turn_with_its_own_settings_and_a_command(server, workspace):
    client = server()
    conversation = begin(client, sandbox="read-only")
    client.request(
        "sendUserTurn",
        {
            "conversationId": conversation,
            "items": [{"type": "text", "data": {"text": "!run echo hi; ls\n!then\n!say ok"}}],
            "cwd": str(workspace),
            "approvalPolicy": "on-failure",
            "sandboxPolicy": {"mode": "danger-full-access"},
            "model": "gpt-5.1-codex",
            "effort": "medium",
            "summary": "auto",
        },
    )
    told = events(client, "task_complete")
    [begun] = [event["msg"] for event in told if event["msg"]["type"] == "exec_command_begin"]
    assert begun["command"][1:] == ["-lc", "echo hi; ls"]
    assert begun["parsed_cmd"] == [{"type": "list_files", "cmd": "ls", "path": None}]
    chunks = [event["msg"]["chunk"] for event in told if event["msg"]["type"] == "exec_command_output_delta"]
    [ended] = [event["msg"] for event in told if event["msg"]["type"] == "exec_command_end"]
    assert (ended["exit_code"], ended["aggregated_output"][:3]) == (0, "hi\n")
    assert ended["aggregated_output"].endswith("".join(base64.b64decode(chunk).decode() for chunk in chunks))


@pytest.mark.parametrize(
    ("decision", "code", "end"),
    [("approved", 0, "task_complete"), ("denied", -1, "task_complete"), ("abort", -1, "turn_aborted")],
)
def test_a_command_is_asked_about(server, workspace, decision, code, end):
    client = server()
    conversation = begin(client, sandbox="workspace-write", approvalPolicy="on-request")
    say(client, conversation, ESCALATE)
    asked = client.wait_for("execCommandApproval")
    assert asked.params["conversationId"] == conversation
    assert asked.params["risk"] is None
    assert asked.params["command"][1:] == ["-lc", "echo ran > ran.txt"]
    client.respond(asked.message["id"], {"decision": decision})
    told = events(client, end)
    kinds = types(told)
    assert kinds.index("exec_command_begin") < kinds.index("exec_approval_request")
    [ended] = [event["msg"] for event in told if event["msg"]["type"] == "exec_command_end"]
    assert ended["exit_code"] == code
    assert (workspace / "ran.txt").exists() == (decision == "approved")


@pytest.mark.parametrize("decision", ["approved", "denied"])
def test_on_failure_asks_about_what_the_sandbox_stopped(server, tmp_path, decision):
    target = tmp_path / "outside"
    client = server()
    conversation = begin(client, sandbox="read-only", approvalPolicy="on-failure")
    say(client, conversation, f"!run touch {target}\n!then\n!say done")
    asked = client.wait_for("execCommandApproval")
    assert asked.params["reason"] == "command failed; retry without sandbox?"
    client.respond(asked.message["id"], {"decision": decision})
    events(client, "task_complete")
    assert target.exists() == (decision == "approved")


@pytest.mark.parametrize("decision", ["approved", "denied"])
def test_a_patch_is_asked_about(server, workspace, decision):
    client = server()
    conversation = begin(client, sandbox="read-only", approvalPolicy="on-request")
    say(client, conversation, PATCH)
    asked = client.wait_for("applyPatchApproval")
    [(path, change)] = asked.params["fileChanges"].items()
    assert (path, list(change)) == (str(workspace / "new.txt"), ["add"])
    client.respond(asked.message["id"], {"decision": decision})
    kinds = types(events(client, "task_complete"))
    applied = [kind for kind in kinds if kind.startswith("patch_apply")]
    assert applied == (["patch_apply_begin", "patch_apply_end"] if decision == "approved" else [])
    assert (workspace / "new.txt").exists() == (decision == "approved")


def test_an_interrupt_is_answered_after_its_event(server):
    client = server()
    conversation = begin(client)
    say(client, conversation, "!hang")
    client.wait_for("codex/event/task_started")
    answer = client.request("interruptConversation", {"conversationId": conversation})
    assert answer == {"abortReason": "interrupted"}
    assert types(events(client, "turn_aborted"))[-1] == "turn_aborted"
    with pytest.raises(RpcError, match="no active turn to interrupt"):
        client.request("interruptConversation", {"conversationId": conversation})


def test_conversations_are_listed_resumed_and_archived(server):
    client = server()
    conversation = begin(client)
    say(client, conversation, "!say remembered")
    client.wait_for("codex/event/task_complete")
    client.close()
    client = server()
    [item] = client.request("listConversations", {"pageSize": 5})["items"]
    assert item["conversationId"] == conversation
    assert item["timestamp"].endswith("Z")
    assert item["timestamp"] <= item["updatedAt"]
    by_path = client.request("getConversationSummary", {"rolloutPath": item["path"]})["summary"]
    by_id = client.request("getConversationSummary", {"conversationId": conversation})["summary"]
    assert by_path == by_id == item
    with pytest.raises(RpcError, match="failed to resolve rollout path `/nowhere`: file does not exist"):
        client.request("getConversationSummary", {"rolloutPath": "/nowhere"})
    resumed = client.request("resumeConversation", {"path": item["path"]})
    assert [message["type"] for message in resumed["initialMessages"]] == ["user_message", "agent_message"]
    configured = client.wait_for("sessionConfigured")
    assert configured.params["initialMessages"] == resumed["initialMessages"]
    client.request("addConversationListener", {"conversationId": conversation})
    say(client, conversation, "!say on we go")
    assert events(client, "task_complete")[-1]["msg"]["last_agent_message"] == "on we go"
    where = {"conversationId": conversation, "rolloutPath": item["path"]}
    assert client.request("archiveConversation", where) == {}
    assert client.request("listConversations", {})["items"] == []


def test_a_killed_worker_ends_the_turn_with_an_error(server):
    client = server()
    conversation = begin(client)
    say(client, conversation, "!hang")
    client.wait_for("codex/event/task_started")
    client.kill_worker(conversation)
    kinds = types(events(client, "task_complete"))
    assert kinds[-2:] == ["error", "task_complete"]
    say(client, conversation, "!say back")
    since = client.wait_for("codex/event/task_complete").index + 1
    assert events(client, "task_complete", since=since)[-1]["msg"]["last_agent_message"] == "back"


def test_the_default_model_is_saved(server, home):
    client = server()
    assert client.request("setDefaultModel", {"model": "gpt-5.1", "reasoningEffort": "low"}) == {}
    saved = tomllib.loads((home / "config.toml").read_text())
    assert (saved["model"], saved["model_reasoning_effort"]) == ("gpt-5.1", "low")
    assert client.request("getUserSavedConfig")["config"]["model"] == "gpt-5.1"
    assert client.request("getUserAgent")["userAgent"].startswith("tests/")
