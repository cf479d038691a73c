"""What the scripted model plays in the Chat Completions API."""

from __future__ import annotations

import json

import modelserver_calls
from modelserver_calls import PATCH

client = modelserver_calls.client
model = modelserver_calls.model


def chat(client, messages, tools=(), **body):
    answer = client.post(
        "/chat/completions",
        json={"model": "m", "messages": messages, "tools": list(tools), "stream": True, **body},
    )
    assert answer.status_code == 200, answer.text
    blocks = answer.text.split("\n\n")[:-1]
    assert blocks.pop() == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


CHAT_EXEC = {
    "type": "function",
    "function": {"name": "exec_command", "parameters": {"properties": {"cmd": {}}}},
}


def test_chat_in_chunks(client):
    script = "!think hm well\n!say Hello there\n!say you\n!usage 8 4 2 1"
    chunks = chat(client, [{"role": "user", "content": script}], stream_options={"include_usage": True})
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm "},
        {"reasoning_content": "well"},
        {"content": "Hello "},
        {"content": "there"},
        {"content": "\nyou"},
        {},
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 4,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chat(client, [{"role": "user", "content": "hello"}]))


def test_chat_tool_calls_and_steps(client):
    long = "x" * 200
    messages = [
        {"role": "user", "content": [{"type": "text", "text": f"!run {long}\n!run b\n!then\n!say End."}]}
    ]
    chunks = chat(client, messages, [CHAT_EXEC])
    calls = {}
    for chunk in chunks:
        for delta in chunk["choices"][0]["delta"].get("tool_calls", []):
            entry = calls.setdefault(delta["index"], {"id": delta.get("id"), "arguments": ""})
            entry["arguments"] += delta["function"]["arguments"]
    assert [json.loads(entry["arguments"]) for entry in calls.values()] == [{"cmd": long}, {"cmd": "b"}]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    messages.append({"role": "assistant", "content": None, "tool_calls": []})
    messages += [{"role": "tool", "tool_call_id": entry["id"], "content": "ok"} for entry in calls.values()]
    whole = client.post("/chat/completions", json={"messages": messages, "tools": [CHAT_EXEC]}).json()
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "End."}
    first = client.post("/chat/completions", json={"messages": messages[:1], "tools": [CHAT_EXEC]}).json()
    assert [c["type"] for c in first["choices"][0]["message"]["tool_calls"]] == ["function", "function"]


def test_chat_custom_tool(client):
    tool = {"type": "custom", "custom": {"name": "apply_patch"}}
    messages = [{"role": "user", "content": f"!patch\n{PATCH}"}]
    whole = client.post("/chat/completions", json={"messages": messages, "tools": [tool]}).json()
    [one] = whole["choices"][0]["message"]["tool_calls"]
    assert one["custom"] == {"name": "apply_patch", "input": PATCH}


def test_chat_accidents(client):
    def ask(text, **body):
        messages = [{"role": "user", "content": text}]
        return client.post("/chat/completions", json={"messages": messages, **body})

    assert (
        chat(client, [{"role": "user", "content": "!incomplete max_output_tokens"}])[-1]["choices"][0][
            "finish_reason"
        ]
        == "length"
    )
    failed = ask("!fail server_error No luck.", stream=True).text.split("\n\n")[-2]
    error = {"message": "No luck.", "type": "server_error", "code": "server_error"}
    assert json.loads(failed.removeprefix("data: ")) == {"error": error}
    plain = ask("!fail server_error No luck.")
    assert (plain.status_code, plain.json()) == (500, {"error": error})
    assert ask("!status 401").status_code == 401
    assert "[DONE]" not in ask("!cut clean", stream=True).text
