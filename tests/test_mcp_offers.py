"""How tools of MCP servers are offered to the model, and servers by streamable HTTP."""

from __future__ import annotations

import mcp_threads
from mcp_threads import begin, brought, call, items, said, settle, told
from mcp_tool_server import http_tools

client = mcp_threads.client
shared = mcp_threads.shared


def test_models_that_search_get_tools_only_when_they_look_for_them(client, model):
    thread = begin(client, model="gpt-5.5")
    client.turn(thread, "!search the picture\n!then\n!tool mcp__tools__picture {}\n!then\n!say done")
    requests = [request.body for request in model.requests()]
    assert [
        tool["type"] for tool in requests[0]["tools"] if tool["type"] in ("namespace", "tool_search")
    ] == ["tool_search"]
    [found] = [item for item in requests[1]["input"] if item["type"] == "tool_search_output"]
    assert (found["status"], found["execution"]) == ("completed", "client")
    [space] = found["tools"]
    assert (space["name"], [tool["name"] for tool in space["tools"]]) == ("mcp__tools", ["picture"])
    assert space["tools"][0]["defer_loading"] is True
    item = items(client, thread)[-2]
    assert (item["type"], item["tool"]) == ("mcpToolCall", "picture")


def test_without_namespaces_a_tool_is_a_function_with_the_servers_name_in_its_own(client, model):
    config = {"model_providers.scripted.wire_api": "chat"}
    thread = begin(client, model="gpt-5.5", config=config)
    since = len(client.lines)
    client.turn(thread, '!tool mcp__tools__look {"text": "x"}\n!then\n!say done')
    body = model.requests()[-1].body
    assert "mcp__tools__look" in [tool["function"]["name"] for tool in body["tools"]]
    assert body["messages"][-1]["content"].endswith('ECHO {"text": "x"}')
    [item] = [
        line.params["item"]
        for line in client.received("item/completed")
        if line.index >= since and line.params["item"]["type"] == "mcpToolCall"
    ]
    assert (item["server"], item["tool"]) == ("tools", "look")


def test_a_server_by_http_is_used_like_any_other(client, model):
    with http_tools("secret") as web, http_tools("other") as shut:
        shut.metadata = {"resource": shut.url, "authorization_servers": ["http://127.0.0.1:9"]}
        settings = {
            "url": web.url,
            "bearer_token_env_var": "TOKEN",
            "http_headers": {"x-one": "1"},
            "env_http_headers": {"x-two": "FORWARDED"},
        }
        thread = begin(client, "web", "shut", **brought(web=settings, shut={"url": shut.url}))
        seen = web.headers_seen[-1]
        assert (seen["x-one"], seen["x-two"]) == ("1", "yes")
        rows = client.request("mcpServerStatus/list", {"threadId": thread})["data"]
        shut_row, row = (next(row for row in rows if row["name"] == name) for name in ("shut", "web"))
        assert (row["runtimeStatus"], row["authStatus"]) == ("connected", "bearerToken")
        assert row["httpOrigin"] == web.origin
        assert (shut_row["runtimeStatus"], shut_row["authStatus"]) == (
            "authenticationRequired",
            "notLoggedIn",
        )
        assert settle(client, thread, "shut")["shut"]["error"] == (
            "The shut MCP server is not logged in. Run `codex mcp login shut`."
        )
        item, _ = call(client, model, thread, "steps", server="web")
        assert len(told(client, "item/mcpToolCall/progress", thread)) == 2
        client.answers.append({"action": "accept", "content": {"name": "Bo"}})
        _, got = call(client, model, thread, "ask", server="web")
        assert said('{"action": "accept", "content": {"name": "Bo"}}')(got)
        # It has forgotten its sessions, as after a restart.
        web.sessions.clear()
        item, _ = call(client, model, thread, "look", server="web")
        assert item["status"] == "completed"
