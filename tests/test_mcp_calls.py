"""The model calls tools of MCP servers."""

from __future__ import annotations

import json

import mcp_threads
import pytest
from mcp_threads import begin, brought, call, items, output, program, said, settle, told
from mcp_tool_server import PIXEL

client = mcp_threads.client
shared = mcp_threads.shared


def test_what_a_tool_answers_reaches_the_client_and_the_model(client, model):
    thread = begin(client)

    item, got = call(client, model, thread, "picture")
    image = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
    assert item["result"]["content"] == [{"type": "text", "text": "a pixel"}, image]
    assert got[1:] == [
        {"type": "input_text", "text": "a pixel"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "high"},
    ]
    item, got = call(client, model, thread, "parts")
    assert item["result"] == {
        "content": [{"type": "text", "text": "plain"}],
        "structuredContent": {"answer": 42},
        "_meta": {"seen": True},
    }
    assert got.endswith('seconds\nOutput:\n{"answer":42}')
    item, got = call(client, model, thread, "fail")
    assert (item["status"], item["error"]) == ("failed", None)
    assert said("it went wrong")(got)
    item, got = call(client, model, thread, "refuse")
    text = "tool call error: tool call failed for `tools/refuse`\n\nCaused by:\n    Mcp error: -32602: not like this"
    assert (item["status"], item["result"], item["error"]) == ("failed", None, {"message": text})
    assert said(text)(got)
    item, got = call(client, model, thread, "add_tool_")
    assert (item["tool"], item["readOnlyHint"]) == ("add.tool!", True)
    item, got = call(client, model, thread, "rubbish")
    assert said("between rubbish")(got)
    item, got = call(client, model, thread, "look", "no json")
    assert item is None
    assert got[1]["text"].startswith("err: ")
    item, got = call(client, model, thread, "nothing")
    assert (item, got) == (None, "unsupported call: mcp__tools__nothing")


def test_progress_is_told_in_the_name_of_the_item(client, model):
    thread = begin(client)
    item, _ = call(client, model, thread, "steps")
    steps = told(client, "item/mcpToolCall/progress", thread)
    assert [(one["itemId"], one["message"]) for one in steps] == [
        (item["id"], "step 1"),
        (item["id"], "step 2"),
    ]


def test_a_program_gets_few_variables_and_those_that_its_table_names(client, model):
    thread = begin(client, **brought(tools={"env": {"GIVEN": "given"}, "cwd": "/usr"}))

    def seen(name):
        _, got = call(client, model, thread, "environment", json.dumps({"name": name}))
        return json.loads(got[1]["text"])

    assert [seen(name)["value"] for name in ("GIVEN", "FORWARDED", "PRIVATE")] == ["given", "yes", None]
    assert seen("BULKHEAD_HOME") == {"value": None, "cwd": "/usr"}


def test_a_call_that_takes_too_long_fails_and_the_next_one_does_not(client, model):
    thread = begin(client, "tools", "other", **brought(tools={"tool_timeout_sec": 0.4}, other=program()))
    item, got = call(client, model, thread, "hang")
    text = (
        "tool call error: tool call failed for `tools/hang`\n\n"
        "Caused by:\n    timed out awaiting tools/call after 400ms"
    )
    assert item["error"] == {"message": text}
    assert said(text)(got)
    item, got = call(client, model, thread, "look", server="other")
    assert item["status"] == "completed"


@pytest.mark.parametrize(
    ("tool", "reason"), [("die", "the program ended"), ("flood", "it sent a line of more than 32 MiB")]
)
def test_a_server_that_fails_in_a_call_fails_that_call_and_is_gone(client, model, tool, reason):
    thread = begin(client, "tools", "other", **brought(other=program()))
    item, _ = call(client, model, thread, tool)
    cause = f"\n\nCaused by:\n    Transport closed ({reason})"
    assert item["error"]["message"] == f"tool call error: tool call failed for `tools/{tool}`{cause}"
    item, _ = call(client, model, thread, "look")
    assert item["error"]["message"] == f"tool call error: tool call failed for `tools/look`{cause}"
    item, _ = call(client, model, thread, "look", server="other")
    assert item["status"] == "completed"
    since = len(client.lines)
    client.request("config/mcpServer/reload", {})
    assert settle(client, thread, "tools", since=since)["tools"]["status"] == "ready"
    item, _ = call(client, model, thread, "look")
    assert item["status"] == "completed"


def test_an_interrupted_call_leaves_its_item_open_and_the_thread_at_work(client, model):
    thread = begin(client, "tools", "other", **brought(other=program()))
    turn = client.begin_turn(thread, "!tool mcp__tools__hang {}\n!then\n!say done")
    client.wait_for(
        lambda m: (
            m.get("method") == "item/started"
            and (m["params"]["turnId"], m["params"]["item"]["type"]) == (turn, "mcpToolCall")
        )
    )
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert client.end_of(turn)["status"] == "interrupted"
    assert "mcpToolCall" not in [item["type"] for item in items(client, thread)]
    item, _ = call(client, model, thread, "look", server="other")
    assert item["status"] == "completed"
    calls = [i for i in model.requests()[-1].body["input"] if i["type"] == "function_call_output"]
    assert calls[0]["output"].endswith("aborted by user")


@pytest.mark.parametrize("tool", ["mcp__tools__look", "read_mcp_resource", "the_clients"])
def test_arguments_that_are_too_deep_are_refused(client, model, tool):
    own = {"type": "function", "name": "the_clients", "description": "", "inputSchema": {"type": "object"}}
    thread = begin(client, dynamicTools=[own])
    deep = f'{{"server": "tools", "uri": "x", "deep": {"[" * 5000}{"]" * 5000}}}'
    lines = client.turn(thread, f"!tool {tool} {deep}\n!then\n!say done")
    assert lines[-1]["params"]["turn"]["status"] == "completed"
    assert "recursion depth" in json.dumps(output(model))
