"""Hooks that are tools of MCP servers: what they are given, what they answer, and what keeps them from it, as in Codex 0.169."""

from __future__ import annotations

import json

import pytest
from hook_turns import RUN, UNSAFE, asked, hooks, items, runs, trusting
from mcp_threads import program, table
from protocol_client import LATER

__all__ = ["hooks", "trusting"]


@pytest.fixture
def tools(home, hooks):
    """`tools(event, tool, **input)`: a hook that is a tool of a server that the home has."""
    config = home / "config.toml"
    config.write_text(f"{config.read_text()}\n{table()}")

    def add(event, tool, *, more=None, **given):
        handler = {"type": "mcp_tool", "server": "tools", "tool": tool, "input": given, **(more or {})}
        hooks.add_handler(event, handler)

    return add


def test_its_answer_counts_as_that_of_a_program(trusting, tools, model):
    reply = {"decision": "block", "reason": "no ${tool_input.command}"}
    tools("PreToolUse", "answer", text=json.dumps(reply))
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), RUN)
    assert runs(lines) == [("preToolUse", "blocked", [("feedback", "no echo hi")])]
    assert ("output", "Command blocked by PreToolUse hook: no echo hi. Command: echo hi") in asked(model)
    [shown] = [line["params"]["run"] for line in lines if line["method"] == "hook/started"]
    assert (shown["handlerType"], shown["executionMode"]) == ("mcpTool", "sync")


def test_its_input_is_filled_in_from_what_hooks_are_told(trusting, tools, model):
    tools(
        "UserPromptSubmit",
        "echo",
        whole="${prompt}",
        within="<${prompt}> ${permission_mode}",
        nested={"list": ["${hook_event_name}", 1, True]},
        not_one="${} $prompt ${prompt",
        **{"a ${prompt}": "x"},
    )
    client = trusting()
    client.turn(client.start_thread(**UNSAFE), "!say hi")
    [heard] = [text for role, text in asked(model) if role == "developer" and text.startswith("ECHO ")]
    assert json.loads(heard.removeprefix("ECHO ")) == {
        "whole": "!say hi",
        "within": "<!say hi> bypassPermissions",
        "nested": {"list": ["UserPromptSubmit", 1, True]},
        "not_one": "${} $prompt ${prompt",
        "a ${prompt}": "x",
    }


def test_what_is_no_text_stays_what_it_is_and_is_json_within_one(trusting, tools, model):
    tools("UserPromptSubmit", "echo", whole="${transcript_path}", within="at ${transcript_path}")
    client = trusting()
    client.turn(client.start_thread(**UNSAFE, ephemeral=True), "!say hi")
    assert ("developer", 'ECHO {"whole": null, "within": "at null"}') in asked(model)


def test_the_server_is_told_of_which_thread_it_is(trusting, tools, model):
    tools("UserPromptSubmit", "thread")
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    client.turn(thread, "!say hi")
    assert ("developer", thread) in asked(model)


@pytest.mark.parametrize(
    ("tool", "more", "fault"),
    [
        ("fail", {}, "MCP tool returned an error: it went wrong"),
        ("refuse", {}, "tool call failed for `tools/refuse`"),
        ("hang", {"timeout": 1}, "tool call failed for `tools/hang`"),
        ("die", {}, "tool call failed for `tools/die`"),
        ("echo", {"server": "none"}, "unknown MCP server 'none'"),
        ("echo", {"input": {"text": "${x.y}"}}, "hook input placeholder `${x.y}` was not found"),
    ],
)
def test_a_hook_that_cannot_be_called_is_shown_and_changes_nothing(trusting, tools, tool, more, fault):
    tools("UserPromptSubmit", tool, more=more)
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), "!say hi")
    assert runs(lines) == [("userPromptSubmit", "failed", [("error", fault)])]
    assert items(lines) == ["userMessage", "agentMessage"]


def test_a_question_of_a_hook_ends_with_its_time(server, hooks, tools):
    tools("UserPromptSubmit", "ask", more={"timeout": 1})
    client = server(handler=lambda *_: LATER)
    hooks.trust(client)
    thread = client.start_thread(**{**UNSAFE, "approvalPolicy": "on-request"})
    lines = client.turn(thread, "!say hi")
    assert runs(lines) == [("userPromptSubmit", "failed", [("error", "tool call failed for `tools/ask`")])]
    [question] = client.received("mcpServer/elicitation/request")
    [resolved] = [line for line in lines if line["method"] == "serverRequest/resolved"]
    assert resolved["params"]["requestId"] == question.message["id"]
    client.respond(question.message["id"], {"action": "accept", "content": {"name": "Bo"}})
    assert client.request("thread/read", {"threadId": thread})["thread"]["status"] == {"type": "idle"}


def test_one_whose_server_cannot_start_says_so(trusting, hooks, home):
    config = home / "config.toml"
    config.write_text(f"{config.read_text()}\n{table('gone', command='/no/such/program')}")
    hooks.add_handler("UserPromptSubmit", {"type": "mcp_tool", "server": "gone", "tool": "x"})
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), "!say hi")
    assert runs(lines) == [("userPromptSubmit", "failed", [("error", "failed to get client")])]


def test_an_interrupt_does_not_wait_for_a_server_to_start(trusting, hooks, home):
    config = home / "config.toml"
    # Far longer than anything waits here.
    slow = table("slow", args=program("hang")["args"], startup_timeout_sec=600)
    config.write_text(f"{config.read_text()}\n{slow}")
    hooks.add_handler("Interrupt", {"type": "mcp_tool", "server": "slow", "tool": "x"})
    client = trusting()
    thread = client.start_thread(**UNSAFE)
    turn = client.begin_turn(thread, "!hang")
    client.wait_for("item/completed")
    assert client.request("turn/interrupt", {"threadId": thread, "turnId": turn}) == {}
    [end] = [line.message for line in client.received("hook/completed")]
    assert runs([end]) == [("interrupt", "failed", [("error", "failed to get client")])]


def test_a_tool_that_is_switched_off_is_not_called(trusting, hooks, home):
    config = home / "config.toml"
    config.write_text(f"{config.read_text()}\n{table(disabled_tools=['echo'])}")
    hooks.add_handler("UserPromptSubmit", {"type": "mcp_tool", "server": "tools", "tool": "echo"})
    client = trusting()
    lines = client.turn(client.start_thread(**UNSAFE), "!say hi")
    fault = "tool 'echo' is disabled for MCP server 'tools'"
    assert runs(lines) == [("userPromptSubmit", "failed", [("error", fault)])]


def test_it_is_trusted_by_the_hash_that_codex_knows_it_by(server, hooks):
    handler = {
        "type": "mcp_tool",
        "server": "srv",
        "tool": "check",
        "statusMessage": "s",
        "input": {"n": 1, "f": 1.5, "e": 10**24},
    }
    hooks.add_handler("PreToolUse", handler, matcher="Bash")
    client = server()
    [shown] = client.request("hooks/list", {})["data"][0]["hooks"]
    # As Codex 0.169 shows it for this very hook.
    assert shown["currentHash"] == "sha256:f9f047163945586f08f924d6dc5effad8ae865b2f9beb519ec4a421557273fb8"
    assert (shown["handlerType"], shown["server"], shown["tool"]) == ("mcpTool", "srv", "check")
    assert not {"command", "async"} & set(shown)


@pytest.mark.parametrize(
    ("event", "handler", "warning"),
    [
        ("Stop", {"server": " ", "tool": "x"}, "server and tool must not be empty"),
        ("SessionEnd", {"server": "s", "tool": "x"}, "SessionEnd MCP hooks are not supported"),
        ("Stop", {"server": "s", "tool": "x", "input": {"a": [None]}}, "must be representable as TOML"),
        ("Stop", {"server": "s", "tool": "x", "timeout": -1}, "timeout must not be negative"),
        ("Stop", {"tool": "x"}, "missing required field `server`"),
    ],
)
def test_a_mistake_is_a_warning_and_costs_the_hook(server, hooks, event, handler, warning):
    hooks.add_handler(event, {"type": "mcp_tool", **handler})
    client = server()
    [listed] = client.request("hooks/list", {})["data"]
    assert listed["hooks"] == []
    [told] = listed["warnings"]
    assert warning in told
