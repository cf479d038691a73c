"""Resources of MCP servers, and calls of the client's own."""

from __future__ import annotations

import json

import mcp_threads
import pytest
from mcp_threads import begin, brought, items, output
from protocol_client import RpcError

client = mcp_threads.client
shared = mcp_threads.shared


def test_the_model_finds_and_reads_resources(client, model):
    thread = begin(client)

    def ask(tool, **arguments):
        client.turn(thread, f"!tool {tool} {json.dumps(arguments)}\n!then\n!say done")
        return output(model)

    one = {"server": "tools", "uri": "memo://one", "name": "one", "mimeType": "text/plain"}
    assert json.loads(ask("list_mcp_resources")) == {
        "resources": [one, {"server": "tools", "uri": "memo://two", "name": "two"}]
    }
    assert json.loads(ask("list_mcp_resources", server="tools")) == {
        "server": "tools",
        "resources": [one],
        "nextCursor": "more",
    }
    assert ask("list_mcp_resources", server="none") == "unknown MCP server 'none'"
    assert json.loads(ask("list_mcp_resource_templates"))["resourceTemplates"][0]["name"] == "memo"
    assert json.loads(ask("read_mcp_resource", server="tools", uri="memo://one"))["contents"] == [
        {"uri": "memo://one", "mimeType": "text/plain", "text": "memo of one"}
    ]
    assert ask("read_mcp_resource", server="tools", uri="x://y").endswith(
        "Mcp error: -32602: no resource x://y"
    )
    ends = items(client, thread)
    calls = [(item["server"], item["tool"]) for item in ends if item["type"] == "mcpToolCall"]
    assert calls[:2] == [("codex", "list_mcp_resources"), ("tools", "list_mcp_resources")]


def test_a_client_calls_tools_and_reads_resources_itself(client):
    thread = begin(client, **brought(tools={"disabled_tools": ["alter"]}))

    def ask(method, **params):
        try:
            return client.request(method, params)
        except RpcError as error:
            return error.code, error.message

    def use(tool, **more):
        return ask("mcpServer/tool/call", threadId=thread, server="tools", tool=tool, **more)

    assert use("echo", arguments={"a": None}) == {"content": [{"type": "text", "text": 'ECHO {"a": null}'}]}
    assert use("parts")["structuredContent"] == {"answer": 42}
    assert use("fail")["isError"] is True
    assert use("refuse") == (-32602, "not like this")
    assert use("alter") == (-32603, "tool 'alter' is disabled for MCP server 'tools'")
    missing = ask("mcpServer/tool/call", threadId=thread, server="none", tool="x")
    assert missing == (-32603, "unknown MCP server 'none'")
    memo = {"uri": "memo://one", "mimeType": "text/plain", "text": "memo of one"}
    for params in ({"threadId": thread}, {}):
        read = ask("mcpServer/resource/read", server="tools", uri="memo://one", **params)
        assert read == {"contents": [memo], "originCallId": None}
        refused = ask("mcpServer/resource/read", server="tools", uri="x://y", **params)
        assert refused == (-32602, "no resource x://y")
    gone = "00000000-0000-7000-8000-000000000000"
    assert ask("mcpServer/resource/read", threadId=gone, server="tools", uri="x") == (
        -32600,
        f"thread not found: {gone}",
    )


def test_a_slow_tool_of_a_client_holds_up_nothing_else(client):
    thread = begin(client)
    waiting = client.start_request(
        "mcpServer/tool/call", {"threadId": thread, "server": "tools", "tool": "hang"}
    )
    assert client.turn(thread, "!say hello")[-1]["params"]["turn"]["status"] == "completed"
    client.kill_worker(thread)
    with pytest.raises(RpcError) as lost:
        client.result(waiting)
    assert "not tried again" in lost.value.message
