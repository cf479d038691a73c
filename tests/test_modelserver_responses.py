"""What the scripted model plays in the Responses API."""

from __future__ import annotations

import json
import subprocess

import modelserver_calls
from modelserver_calls import PATCH, arguments, call, items, respond, said, user

client = modelserver_calls.client
model = modelserver_calls.model


EXEC = {
    "type": "function",
    "name": "exec_command",
    "parameters": {"properties": {"cmd": {}, "sandbox_permissions": {}}},
}

SHELL = {
    "type": "function",
    "name": "shell",
    "parameters": {"properties": {"with_escalated_permissions": {}}},
}


def test_a_message_in_events(client):
    events = respond(client, [user("!say Hello there\n!usage 7 3")])
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in events[3:5]] == ["Hello ", "there"]
    identity = events[1]["item"]["id"]
    assert {event["item_id"] for event in events[2:7]} == {identity}
    part = {"type": "output_text", "text": "Hello there", "annotations": []}
    done = {"type": "message", "role": "assistant", "id": identity, "content": [part], "status": "completed"}
    assert events[7]["item"] == done
    response = events[-1]["response"]
    assert (response["id"], response["status"]) == (events[0]["response"]["id"], "completed")
    assert response["output"] == [done]
    assert response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 10,
    }


def test_reasoning_in_events(client):
    script = "!think **Plan** first\n!think then act\n!think-raw raw chain\n!comment Working.\n!final Done."
    events = respond(client, [user(script)], include=["reasoning.encrypted_content"])
    reasoning, comment, final = items(events)
    assert [part["text"] for part in reasoning["summary"]] == ["**Plan** first", "then act"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "raw chain"}]
    assert reasoning["encrypted_content"]
    assert (comment["phase"], final["phase"]) == ("commentary", "final_answer")
    deltas = [(e["summary_index"], e["delta"]) for e in events if e["type"].endswith("summary_text.delta")]
    assert deltas == [(0, "**Plan** "), (0, "first"), (1, "then "), (1, "act")]
    assert "".join(e["delta"] for e in events if e["type"] == "response.reasoning_text.delta") == "raw chain"
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    assert added == [0, 1, 2]


def test_a_stream_of_numbered_words(client):
    events = respond(client, [user("!stream 3 0.001")])
    assert [e["delta"] for e in events if e["type"].endswith("text.delta")] == ["w0001 ", "w0002 ", "w0003"]
    assert said(events) == ["w0001 w0002 w0003"]


def test_a_long_stream_arrives_whole(client):
    [text] = said(respond(client, [user("!stream 5000")]))
    assert text.split() == [f"w{number:04d}" for number in range(1, 5001)]


def test_steps_follow_the_tool_outputs(client):
    given_items = [user("!say One.\n!run a\n!run b\n!then\n!repeat 2\n!run c\n!then\n!say End.")]
    commands = []
    for _ in range(3):
        calls = [
            item for item in items(respond(client, given_items, [EXEC])) if item["type"] == "function_call"
        ]
        commands.append([json.loads(item["arguments"])["cmd"] for item in calls])
        outputs = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"} for item in calls
        ]
        given_items += calls + outputs
    assert commands == [["a", "b"], ["c"], ["c"]]
    assert said(respond(client, given_items, [EXEC])) == ["End."]
    again = [*given_items, {"type": "function_call_output", "call_id": "call_x_s3_0", "output": "?"}]
    assert said(respond(client, again, [EXEC])) == [
        "Scripted model: the script is over, 5 tool results came back."
    ]


def test_the_shell_in_the_spelling_of_the_client(client):
    command = {"type": "function", "name": "shell_command", "parameters": {"properties": {}}}
    assert arguments(client, "!run ls -l | wc", EXEC) == {"cmd": "ls -l | wc"}
    assert arguments(client, "!run ls", command) == {"command": "ls"}
    assert arguments(client, "!run ls", SHELL) == {"command": ["bash", "-lc", "ls"]}
    escalated = arguments(client, "!run-escalated ls", EXEC)
    assert escalated["sandbox_permissions"] == "require_escalated"
    assert escalated["justification"]
    assert arguments(client, "!run-escalated ls", SHELL)["with_escalated_permissions"] is True
    assert arguments(client, "!start cat", EXEC) == {"cmd": "cat", "tty": True, "yield_time_ms": 300}


def test_a_patch_as_custom_tool_function_or_command(client):
    script = f"!patch\n{PATCH}"
    function = {"type": "function", "name": "apply_patch", "parameters": {"properties": {"input": {}}}}
    events = respond(client, [user(script)], [{"type": "custom", "name": "apply_patch"}])
    [custom] = items(events)
    assert (custom["type"], custom["input"]) == ("custom_tool_call", PATCH)
    deltas = [e["delta"] for e in events if e["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == PATCH
    assert arguments(client, script, function) == {"input": PATCH}
    command = "apply_patch() { cat; }\n" + arguments(client, script, EXEC)["cmd"]
    echoed = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert echoed.stdout.decode() == PATCH


def test_other_tools(client):
    def tool(name, kind="function"):
        return {"type": kind, "name": name, "parameters": {"properties": {}}}

    plan = arguments(client, "!plan [x] read; [>] write; [ ] test", tool("update_plan"))
    assert [entry["status"] for entry in plan["plan"]] == ["completed", "in_progress", "pending"]
    assert arguments(client, "!view a b.png", tool("view_image")) == {"path": "a b.png"}
    assert call(client, "!tool nothing {broken")["arguments"] == "{broken"
    assert call(client, "!tool list")["arguments"] == "{}"
    space = {"type": "namespace", "name": "mcp__echo", "tools": [tool("echo")]}
    for name in ("echo", "mcp__echo/echo", "mcp__echo__echo"):
        found = call(client, f"!tool {name} {{}}", space)
        assert (found["namespace"], found["name"]) == ("mcp__echo", "echo")
    extra = {"type": "additional_tools", "role": "developer", "tools": [EXEC]}
    [found] = items(respond(client, [extra, user("!run x")]))
    assert found["name"] == "exec_command"


def test_the_last_session_gets_the_input(client):
    tools = [EXEC, {"type": "function", "name": "write_stdin", "parameters": {}}]
    script = user('!run cat\n!then\n!stdin last hello\n!stdin 5 "\\u0004"\n!stdin last')
    output = "Wall time: 1\nProcess running with session ID 3412\nOutput:\n"
    back = {"type": "function_call_output", "call_id": "call_x_s0_0", "output": output}
    sent = [json.loads(item["arguments"]) for item in items(respond(client, [script, back], tools))]
    assert sent == [
        {"session_id": 3412, "chars": "hello\n"},
        {"session_id": 5, "chars": "\x04"},
        {"session_id": 3412, "chars": ""},
    ]
    back = {**back, "output": [{"type": "input_text", "text": "nothing runs"}]}
    assert "names a running session" in said(respond(client, [script, back], tools))[0]


def test_what_cannot_be_played_is_said(client):
    assert said(respond(client, [user("!run ls")]))[0].startswith(
        "Scripted model: the request offers no shell tool"
    )
    assert "unknown directive !dance" in said(respond(client, [user("!dance")]))[0]
    [text] = said(respond(client, [user("Please\n fix the bug")]))
    assert text.endswith("You wrote: “Please fix the bug”")
    assert "\n" not in text
    assert said(respond(client, [])) == ["Scripted model: the request holds no user text."]
