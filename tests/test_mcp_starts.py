"""MCP servers start with their thread, and are listed."""

from __future__ import annotations

import mcp_threads
import pytest
from mcp_threads import begin, brought, call, program, said, settle, statuses
from protocol_client import RpcError

client = mcp_threads.client
shared = mcp_threads.shared


def test_a_server_starts_with_its_thread_and_its_tools_are_offered(client, model):
    thread = begin(client)
    assert statuses(client, thread) == [("tools", "starting"), ("tools", "ready")]
    order = [line.method for line in client.lines if not line.sent and line.message and line.method]
    assert order.index("thread/started") < order.index("mcpServer/startupStatus/updated")
    client.turn(thread, "!say hello")
    offered = model.requests()[-1].body["tools"]
    [space] = [tool for tool in offered if tool["type"] == "namespace"]
    assert (space["name"], space["description"]) == ("mcp__tools", "Tools for tests.")
    names = [tool["name"] for tool in space["tools"]]
    assert names == sorted(names)
    assert "add_tool_" in names
    assert next(tool for tool in space["tools"] if tool["name"] == "echo") == {
        "type": "function",
        "name": "echo",
        "description": "test tool echo",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        },
    }
    assert {"list_mcp_resources", "list_mcp_resource_templates", "read_mcp_resource"} <= {
        tool.get("name") for tool in offered
    }


def test_servers_are_listed_with_and_without_a_thread(client):
    thread = begin(client)
    for of_thread in (True, False):
        params = {"threadId": thread} if of_thread else {}
        [off, tools] = client.request("mcpServerStatus/list", params)["data"]
        assert off["runtimeStatus"] == ("disabled" if of_thread else None)
        assert tools["runtimeStatus"] == ("connected" if of_thread else None)
        assert tools["serverInfo"]["title"] == "Test tools"
        assert tools["serverCapabilities"] == {"tools": {}, "resources": {}}
        assert tools["tools"]["look"]["annotations"] == {"readOnlyHint": True}
        assert [row["uri"] for row in tools["resources"]] == ["memo://one", "memo://two"]
        assert tools["resourceTemplates"] == [{"uriTemplate": "memo://{name}", "name": "memo"}]
        assert tools["authStatus"] == "unsupported"
    short = client.request("mcpServerStatus/list", {"serverName": "tools", "detail": "toolsAndAuthOnly"})
    assert [row["resources"] for row in short["data"]] == [[]]


def test_servers_that_cannot_start_say_why_and_harm_nobody_else(client, model):
    nowhere = "http://127.0.0.1:9/mcp"
    servers = {
        "leaves": program("leave"),
        "hangs": program("hang", startup_timeout_sec=0.5),
        "chats": program("rubbish"),
        "refuses": program("refuse"),
        "floods": program("flood"),
        "lost": program(command="/no/such/program"),
        "nowhere": {"url": nowhere},
        "no name": program(),
        "poor": {"url": nowhere, "bearer_token_env_var": "NO_SUCH_TOKEN"},
    }
    thread = begin(client, **brought(**servers))
    ends = settle(client, thread, *servers)
    assert ends["chats"]["status"] == "ready"
    failed = {name: end["error"] for name, end in ends.items() if name != "chats"}
    prefix = "MCP client for `{}` failed to start: MCP startup failed: "
    expected = {
        "leaves": prefix + "handshaking with MCP server failed: connection closed: initialize response "
        "(the program ended and said: cannot start today)",
        "hangs": "MCP client for `{}` timed out after 0.5 seconds. Add or adjust `startup_timeout_sec` in your "
        "config.toml:\n[mcp_servers.hangs]\nstartup_timeout_sec = XX",
        "refuses": prefix + "handshaking with MCP server failed: JSON-RPC error: -32000: not today",
        "floods": prefix + "handshaking with MCP server failed: connection closed: initialize response "
        "(it sent a line of more than 32 MiB)",
        "lost": prefix + "No such file or directory (os error 2)",
        "nowhere": prefix + "handshaking with MCP server failed: All connection attempts failed",
        "no name": prefix + "Invalid MCP server name 'no name': must match pattern ^[a-zA-Z0-9_:@/.-]+$",
        "poor": prefix + "Environment variable NO_SUCH_TOKEN for MCP server 'poor' is not set",
    }
    assert failed == {name: text.format(name) for name, text in expected.items()}
    item, got = call(client, model, thread, "look", '{"text": "x"}')
    assert item["status"] == "completed"
    assert said('ECHO {"text": "x"}')(got)
    rows = client.request("mcpServerStatus/list", {"threadId": thread, "detail": "toolsAndAuthOnly"})["data"]
    assert {row["name"]: row["runtimeStatus"] for row in rows if row["name"] in failed} == dict.fromkeys(
        failed, "failed"
    )


def test_a_thread_does_not_begin_without_a_required_server(client):
    before = client.request("thread/loaded/list", {})["data"]
    with pytest.raises(RpcError) as refused:
        client.start_thread(**brought(needed=program(command="/no/such", required=True)))
    assert (refused.value.code, refused.value.message) == (
        -32603,
        (
            "error creating thread: Fatal error: Failed to initialize session: required MCP servers failed to "
            "initialize: needed: No such file or directory (os error 2)"
        ),
    )
    assert set(client.request("thread/loaded/list", {})["data"]) <= set(before)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"bogus": 1}, "invalid transport"),
        ({"command": "x", "url": "y"}, "url is not supported for stdio"),
        ({"url": "y", "env": {}}, "env is not supported for streamable_http"),
        ({"command": 3}, "invalid type: integer `3`, expected a string"),
    ],
)
def test_a_wrong_table_is_refused_with_its_key(client, wrong, reason):
    with pytest.raises(RpcError) as refused:
        client.start_thread(**brought(r=wrong))
    assert refused.value.message.startswith(f"failed to load configuration: {reason}\nin `mcp_servers.r")
