"""Approvals of MCP tools, and questions that MCP servers ask the user."""

from __future__ import annotations

import json

import mcp_threads
import pytest
from mcp_threads import ACCEPT, begin, brought, call, output, said, table, told
from protocol_client import LATER

client = mcp_threads.client
configure = mcp_threads.configure
shared = mcp_threads.shared


def asked(client, thread):
    return told(client, "mcpServer/elicitation/request", thread)


def test_a_tool_that_may_change_something_needs_approval(client, model):
    thread = begin(client)
    client.answers += [{"action": "decline"}, {"action": "cancel"}, {"nonsense": 1}]
    for text in (
        "user rejected MCP tool call",
        "user cancelled MCP tool call",
        "user rejected MCP tool call",
    ):
        item, got = call(client, model, thread, "echo", '{"b": 1, "a": [2]}')
        assert (item["status"], item["error"]["message"], item["durationMs"]) == ("failed", text, 0)
        assert said(text)(got)
    assert asked(client, thread)[0] == {
        "threadId": thread,
        "turnId": asked(client, thread)[0]["turnId"],
        "serverName": "tools",
        "mode": "form",
        "_meta": {
            "codex_approval_kind": "mcp_tool_call",
            "persist": ["session", "always"],
            "tool_name": "echo",
            "tool_description": "test tool echo",
            "tool_params": {"b": 1, "a": [2]},
            "tool_params_display": [
                {"name": "a", "value": [2], "display_name": "a"},
                {"name": "b", "value": 1, "display_name": "b"},
            ],
        },
        "message": 'Allow the tools MCP server to run tool "echo"?',
        "requestedSchema": {"type": "object", "properties": {}},
    }
    item, got = call(client, model, thread, "echo", '{"b": 1}')
    assert item["status"] == "completed"
    flags = [
        line.params["status"]["activeFlags"]
        for line in client.received("thread/status/changed")
        if line.params["threadId"] == thread and line.params["status"]["type"] == "active"
    ]
    assert flags == [[], ["waitingOnApproval"], []] * 4


ASKED = {
    ("auto", "on-request"): ["echo"],
    ("auto", "untrusted"): ["echo"],
    ("prompt", "on-request"): ["alter", "append", "echo", "look"],
    ("writes", "on-request"): ["append", "echo"],
    ("approve", "on-request"): [],
}
"""Of `alter` (read only, destructive), `append` (harmless), `echo` (says nothing of itself), `look` (read only)."""


@pytest.mark.parametrize(("mode", "policy"), ASKED)
def test_approvals_follow_the_mode_and_what_a_tool_says_of_itself(client, mode, policy):
    thread = begin(client, approvalPolicy=policy, **brought(tools={"default_tools_approval_mode": mode}))
    script = "\n!then\n".join(
        f"!tool mcp__tools__{name} {{}}" for name in ("alter", "append", "echo", "look")
    )
    client.turn(thread, f"{script}\n!then\n!say done")
    assert [question["_meta"]["tool_name"] for question in asked(client, thread)] == ASKED[mode, policy]
    assert all(("persist" in question["_meta"]) == (mode == "auto") for question in asked(client, thread))


def test_nobody_is_asked_where_nobody_may_be(client, model):
    never = begin(client, approvalPolicy="never")
    item, _ = call(client, model, never, "echo")
    assert item["error"] == {"message": "MCP tool call requires approval, but approval policy is never"}
    _, got = call(client, model, never, "ask")
    assert said('{"action": "decline"}')(got)
    assert asked(client, never) == []
    free = begin(client, approvalPolicy="never", sandbox="danger-full-access")
    item, _ = call(client, model, free, "echo")
    assert item["status"] == "completed"
    assert asked(client, free) == []


def test_an_approval_can_stand_for_the_session_or_for_good(server, model, home, configure):
    configure(table())
    answers = []
    client = server(handler=lambda *_: answers.pop())
    thread = begin(client)
    answers.append({**ACCEPT, "_meta": {"persist": "session"}})
    for _ in range(2):
        item, _ = call(client, model, thread, "echo")
        assert item["status"] == "completed"
    assert len(asked(client, thread)) == 1
    other = begin(client)
    answers.append({**ACCEPT, "_meta": {"persist": "always"}})
    call(client, model, other, "echo")
    assert len(asked(client, other)) == 1
    assert (
        (home / "config.toml")
        .read_text()
        .endswith('[mcp_servers.tools.tools.echo]\napproval_mode = "approve"\n')
    )
    third = begin(client)
    call(client, model, third, "echo")
    assert asked(client, third) == []


def test_a_server_can_ask_the_user(client, model):
    thread = begin(client)
    client.answers += [
        {"action": "accept", "content": {"name": "Bo"}},
        {"action": "decline"},
        {"action": "accept"},
    ]
    _, got = call(client, model, thread, "ask")
    assert said('{"action": "accept", "content": {"name": "Bo"}}')(got)
    _, got = call(client, model, thread, "ask")
    assert said('{"action": "decline"}')(got)
    _, got = call(client, model, thread, "visit")
    assert said('{"action": "accept", "content": {}}')(got)
    form, _, url = asked(client, thread)
    assert (form["mode"], form["message"], form["_meta"]) == ("form", "Who are you?", None)
    assert form["requestedSchema"]["required"] == ["name"]
    assert (url["mode"], url["url"], url["elicitationId"]) == ("url", "https://example.com/x", "e1")


def test_the_time_that_a_user_takes_for_a_servers_question_is_not_the_servers(client, model):
    thread = begin(client, **brought(tools={"tool_timeout_sec": 0.3}))
    client.answers.append(LATER)
    since = len(client.lines)
    turn = client.begin_turn(thread, "!tool mcp__tools__ask {}\n!then\n!say done")
    question = client.wait_for("mcpServer/elicitation/request", since=since)
    # Longer than the call may take.
    with pytest.raises(AssertionError):
        client.wait_for("item/completed", since=question.index, timeout=0.6)
    client.respond(question.message["id"], {"action": "accept", "content": {"name": "Bo"}})
    assert client.end_of(turn)["status"] == "completed"
    assert said('{"action": "accept", "content": {"name": "Bo"}}')(output(model))


def test_a_servers_question_ends_with_the_turn_that_it_was_asked_in(client):
    thread = begin(client)
    client.answers.append(LATER)
    since = len(client.lines)
    turn = client.begin_turn(thread, "!tool mcp__tools__ask {}\n!then\n!say done")
    question = client.wait_for("mcpServer/elicitation/request", since=since)
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    resolved = client.wait_for("serverRequest/resolved", since=question.index)
    assert resolved.params["requestId"] == question.message["id"]
    client.respond(question.message["id"], {"action": "accept", "content": {"name": "Bo"}})
    assert client.request("thread/read", {"threadId": thread})["thread"]["status"] == {"type": "idle"}
    assert told(client, "thread/status/changed", thread)[-1]["status"] == {"type": "idle"}


def test_an_answer_that_comes_after_the_turn_does_not_wake_it(client):
    thread = begin(client)
    client.answers.append(LATER)
    since = len(client.lines)
    turn = client.begin_turn(thread, "!stream 3 0.05\n!hang")
    client.first_delta(thread, since=since)
    asked = client.start_request(
        "mcpServer/tool/call", {"threadId": thread, "server": "tools", "tool": "ask"}
    )
    question = client.wait_for("mcpServer/elicitation/request", since=since)
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    client.end_of(turn, since=since)
    client.respond(question.message["id"], {"action": "accept", "content": {"name": "Bo"}})
    assert "Bo" in client.result(asked)["content"][0]["text"]
    assert client.request("thread/read", {"threadId": thread})["thread"]["status"] == {"type": "idle"}


def test_a_server_can_ask_the_user_outside_of_a_turn(client):
    thread = begin(client)
    client.answers.append({"action": "accept", "content": {"name": "Bo"}})
    params = {"threadId": thread, "server": "tools", "tool": "ask"}
    result = client.request("mcpServer/tool/call", params)
    assert json.loads(result["content"][0]["text"]) == {"action": "accept", "content": {"name": "Bo"}}
    [question] = asked(client, thread)
    assert question["turnId"] is None
    assert told(client, "thread/status/changed", thread) == []
