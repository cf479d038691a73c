"""MCP servers of a thread: they start with it, their tools are offered and called, and they end with it."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
from mcp_tool_server import PIXEL, http_tools
from protocol_client import LATER, RpcError
from running_server import (
    MARK,
    Marked,
    RunningServer,
    await_ends,
    children,
    command_line,
    runtime_folder,
    write_config,
)

SERVER = str(Path(__file__).with_name("mcp_tool_server.py"))
PYTHON = os.path.realpath("/proc/self/exe")
FALLBACK = "some-model"
"""A model that nothing is known of: it gets all tools with every request."""
ACCEPT = {"action": "accept", "content": {}, "_meta": None}


def program(how="well", **more):
    """A program's settings. It has the mark of the test, so a program that is left over is noticed."""
    return {"command": PYTHON, "args": [SERVER, how], "env_vars": [MARK], **more}


def brought(**servers):
    """Servers that a thread brings, beside those of the file."""
    return {"config": {"mcp_servers": servers}}


def table(name="tools", **more):
    """A program's settings as a table."""
    keys = program(**more)
    return "\n".join([f"[mcp_servers.{name}]", *(f"{key} = {_toml(keys[key])}" for key in keys), ""])


def _toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def configure_home(home, *tables, model=FALLBACK):
    config = home / "config.toml"
    text = config.read_text().replace('model = "gpt-6.1-sol"', f'model = "{model}"')
    config.write_text("\n".join([text, *tables]))


@pytest.fixture
def configure(home):
    """For tests with a server of their own."""
    return partial(configure_home, home)


@pytest.fixture(scope="module")
def shared(scripted, tmp_path_factory):
    """A server with one MCP server, for all tests that can do with it: a start costs half a second and more.

    Its client gives the `answers`, one after the other, and then accepts.
    """
    home, workspace = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("workspace")
    write_config(home, scripted.url)
    configure_home(home, table(env_vars=[MARK, "FORWARDED"]), table("off", enabled=False))
    answers = []

    def answer(*_):
        return answers.pop(0) if answers else ACCEPT

    with runtime_folder() as runtime:
        marked = Marked(home, runtime)
        marked.env |= {"FORWARDED": "yes", "PRIVATE": "no", "TOKEN": "secret"}
        options = ("-c", "bulkhead.idle_unload_s=0.01")
        with RunningServer(*options, marked=marked, cwd=workspace, handler=answer) as client:
            client.initialize(experimentalApi=True)
            client.answers = answers
            yield client
        left = marked.end()
    assert not left, f"{len(left)} processes were left"


@pytest.fixture
def client(shared):
    """The shared server; what a test has started there ends with it."""
    since = len(shared.lines)
    shared.answers.clear()
    yield shared
    for line in shared.received("thread/started"):
        if line.index >= since:
            shared.request("thread/unsubscribe", {"threadId": line.params["thread"]["id"]})


def statuses(client, thread):
    told_of = told(client, "mcpServer/startupStatus/updated", thread)
    return [(params["name"], params["status"]) for params in told_of]


def settle(client, thread, *names, since=0):
    """Wait until each server has started or failed; what was told last of each, by name."""
    found = {}
    for name in names:
        found[name] = client.wait_for(
            lambda m, name=name: (
                m.get("method") == "mcpServer/startupStatus/updated"
                and (m["params"]["threadId"], m["params"]["name"]) == (thread, name)
                and m["params"]["status"] != "starting"
            ),
            since=since,
            what=f"the start of {name}",
        ).params
    return found


def begin(client, *names, **params):
    thread = client.start_thread(**{"sandbox": "workspace-write", "approvalPolicy": "on-request", **params})
    settle(client, thread, *(names or ("tools",)))
    return thread


def call(client, model, thread, tool, arguments="{}", *, server="tools"):
    """One call in a turn of its own: the item's end, and what the model got."""
    since = len(client.lines)
    client.turn(thread, f"!tool mcp__{server}__{tool} {arguments}\n!then\n!say done")
    ends = [line.params["item"] for line in client.received("item/completed") if line.index >= since]
    [item] = [item for item in ends if item["type"] == "mcpToolCall"] or [None]
    return item, output(model)


def output(model):
    outputs = [i["output"] for i in model.requests()[-1].body["input"] if i["type"] == "function_call_output"]
    return outputs[-1]


def said(text):
    """What a model gets of a result with one text."""
    return lambda got: (
        [part["text"] for part in got[1:]] == [text] and got[0]["text"].startswith("Wall time: ")
    )


def told(client, method, thread):
    return [line.params for line in client.received(method) if line.params["threadId"] == thread]


def asked(client, thread):
    return told(client, "mcpServer/elicitation/request", thread)


def items(client, thread):
    return [params["item"] for params in told(client, "item/completed", thread)]


# --- start and list ---------------------------------------------------------------------------------------------


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


# --- calls --------------------------------------------------------------------------------------------------------


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


# --- approvals ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("tool", ["mcp__tools__look", "read_mcp_resource", "the_clients"])
def test_arguments_that_are_too_deep_are_refused(client, model, tool):
    own = {"type": "function", "name": "the_clients", "description": "", "inputSchema": {"type": "object"}}
    thread = begin(client, dynamicTools=[own])
    deep = f'{{"server": "tools", "uri": "x", "deep": {"[" * 5000}{"]" * 5000}}}'
    lines = client.turn(thread, f"!tool {tool} {deep}\n!then\n!say done")
    assert lines[-1]["params"]["turn"]["status"] == "completed"
    assert "recursion depth" in json.dumps(output(model))


# --- resources, and calls of the client's own ------------------------------------------------------------------------


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


# --- many tools -------------------------------------------------------------------------------------------------------


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


def test_a_server_can_ask_the_user_outside_of_a_turn(client):
    thread = begin(client)
    client.answers.append({"action": "accept", "content": {"name": "Bo"}})
    params = {"threadId": thread, "server": "tools", "tool": "ask"}
    result = client.request("mcpServer/tool/call", params)
    assert json.loads(result["content"][0]["text"]) == {"action": "accept", "content": {"name": "Bo"}}
    [question] = asked(client, thread)
    assert question["turnId"] is None
    assert told(client, "thread/status/changed", thread) == []


# --- streamable HTTP --------------------------------------------------------------------------------------------------


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


# --- the end ------------------------------------------------------------------------------------------------------------


def family(client, model, thread):
    """The pids of the server and of a child of its own."""
    _, got = call(client, model, thread, "children")
    pids = json.loads(got[1]["text"])
    assert SERVER.encode() in command_line(pids["server"])
    return list(pids.values())


def test_servers_and_what_they_start_end_when_nobody_wants_the_thread(client, model):
    thread = begin(client)
    pids = family(client, model, thread)
    await_ends(pids, ended=lambda: client.request("thread/unsubscribe", {"threadId": thread}))


@pytest.mark.parametrize("how", ["killed", "closed"])
def test_servers_and_what_they_start_end_with_the_front(server, model, marked, configure, how):
    configure(table())
    client = server()
    family(client, model, begin(client))

    def end():
        if how == "killed":
            os.kill(client.pid, signal.SIGKILL)
        client.close()

    await_ends(marked.processes(), ended=end)


def test_a_killed_workers_servers_end_and_its_successor_has_new_ones(client, model):
    thread = begin(client)
    pids = family(client, model, thread)
    since = len(client.lines)
    await_ends(pids, ended=lambda: client.kill_worker(thread))
    settle(client, thread, "tools", since=since)
    item, _ = call(client, model, thread, "look")
    assert item["status"] == "completed"


def test_a_sleeping_thread_has_no_servers_and_gets_them_back(server, model, configure):
    configure(table())
    client = server("-c", "bulkhead.hibernate_after_s=0.1")
    thread = begin(client)
    pids = family(client, model, thread)
    await_ends(pids)
    client.await_row(thread, lambda row: row["state"] == "hibernated")
    item, _ = call(client, model, thread, "look")
    assert item["status"] == "completed"
    assert statuses(client, thread)[-2:] == [("tools", "starting"), ("tools", "ready")]


def test_a_reload_starts_what_is_new_and_ends_what_is_gone(server, model, home, configure):
    configure(table())
    client = server()
    thread = begin(client)
    pids = family(client, model, thread)
    config = home / "config.toml"
    config.write_text(config.read_text().replace("[mcp_servers.tools]", "[mcp_servers.new]"))
    await_ends(pids, ended=lambda: client.request("config/mcpServer/reload", {}))
    settle(client, thread, "new")
    item, _ = call(client, model, thread, "look", server="new")
    assert item["status"] == "completed"
    item, got = call(client, model, thread, "look")
    assert got == "unsupported call: mcp__tools__look"


def test_a_server_that_a_request_brings_is_started_in_a_server_that_knew_of_none(server, model):
    client = server()
    thread = begin(client, model=FALLBACK, **brought(tools=program()))
    item, _ = call(client, model, thread, "look")
    assert item["status"] == "completed"
    assert client.request("mcpServerStatus/list", {})["data"] == []
    assert children(client.worker(thread))
