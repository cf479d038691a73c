from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import modelserver
from modelserver import conversation
from modelserver.actions import (
    Cut,
    Fail,
    Hang,
    Incomplete,
    Patch,
    Plan,
    PlanEntry,
    Run,
    Say,
    Script,
    Sleep,
    Status,
    Stdin,
    Step,
    Stream,
    Think,
    Tool,
    Usage,
    View,
)
from modelserver.embedded import scripted_model
from modelserver.errors import ScriptError
from modelserver.frames import pieces, words
from modelserver.script import DIRECTIVES, parse

ROOT = Path(__file__).resolve().parents[1]
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
PATCH = "*** Begin Patch\n*** Add File: a.txt\n+!say not a directive\n*** End Patch\n"


@pytest.fixture(scope="module")
def model():
    with scripted_model() as server:
        yield server


@pytest.fixture
def client(model):
    model.clear()
    with httpx.Client(base_url=model.url, timeout=30, trust_env=False) as http:
        yield http


def user(text):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def sse(text):
    events = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def respond(client, given, tools=(), **body):
    answer = client.post(
        "/responses",
        json={"model": "m", "input": given, "tools": list(tools), "stream": True, **body},
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    return sse(answer.text)


def items(events):
    return [event["item"] for event in events if event["type"] == "response.output_item.done"]


def said(events):
    return [item["content"][0]["text"] for item in items(events) if item["type"] == "message"]


def call(client, text, *tools):
    [item] = items(respond(client, [user(text)], tools))
    return item


def arguments(client, text, *tools):
    return json.loads(call(client, text, *tools)["arguments"])


# The language


@given(st.text())
@example("!say <<END\nnever closed")
@example("!status 429 {")
@example('!stdin 1 "\\')
def test_every_text_is_read_or_refused_with_its_line(text):
    refused_at = 1
    try:
        parse(text)
    except ScriptError as error:
        refused_at = error.line
    assert 1 <= refused_at <= text.count("\n") + 1


@given(st.lists(st.sampled_from(DIRECTIVES)), st.data())
def test_every_mix_of_directives_is_read_or_refused(names, data):
    rest = st.one_of(
        st.just(""), st.just("1 2"), st.just("<<END"), st.just("last <<END"), st.text(max_size=12)
    )
    with contextlib.suppress(ScriptError):
        parse("\n".join(f"!{name} {data.draw(rest)}" for name in names))


line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1).filter(
    lambda text: text == text.strip() and not text.startswith("<<")
)
word = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
PLAN_MARKS = {"completed": "x", "in_progress": ">", "pending": " "}
step_text = line.filter(lambda text: ";" not in text)
SAYINGS = st.one_of(
    line.map(lambda text: (f"!say {text}", Say(text))),
    line.map(lambda text: (f"!comment {text}", Say(text, "commentary"))),
    line.map(lambda text: (f"!final {text}", Say(text, "final_answer"))),
    line.map(lambda text: (f"!think {text}", Think(text))),
    line.map(lambda text: (f"!think-raw {text}", Think(text, raw=True))),
    st.integers(1, 10**6).map(lambda n: (f"!stream {n} 0.5", Stream(n, 0.5))),
    st.integers(0, 3600).map(lambda n: (f"!sleep {n}", Sleep(float(n)))),
    st.lists(line.filter(lambda text: text != "END"), min_size=1).map(
        lambda lines: ("\n".join(["!say <<END", *lines, "END"]), Say("\n".join(lines)))
    ),
)
CALLS = st.one_of(
    line.map(lambda text: (f"!run {text}", Run(text))),
    line.map(lambda text: (f"!run-escalated {text}", Run(text, escalated=True))),
    line.map(lambda text: (f"!view {text}", View(text))),
    line.filter(lambda text: not text.startswith('"')).map(
        lambda text: (f"!stdin last {text}", Stdin(None, text + "\n"))
    ),
    st.text(min_size=1).map(lambda text: (f"!stdin 7 {json.dumps(text)}", Stdin(7, text))),
    st.tuples(word, line).map(lambda pair: (f"!tool {pair[0]} {pair[1]}", Tool(*pair))),
    st.lists(st.tuples(step_text, st.sampled_from(sorted(PLAN_MARKS))), min_size=1).map(
        lambda entries: (
            "!plan " + "; ".join(f"[{PLAN_MARKS[status]}] {text}" for text, status in entries),
            Plan(tuple(PlanEntry(*entry) for entry in entries)),
        )
    ),
    st.just(("!patch\n" + PATCH.rstrip("\n"), Patch(PATCH))),
)
STEPS = st.tuples(st.lists(SAYINGS, max_size=3), CALLS, st.integers(1, 5))


@given(st.lists(STEPS, min_size=1, max_size=4), st.booleans())
def test_a_script_means_what_was_written(drafts, crlf):
    texts, steps = [], []
    for sayings, one_call, times in drafts:
        parts = [*sayings, one_call]
        texts.append("\n".join(["some prose", f"!repeat {times}", *(text for text, _ in parts)]))
        steps.append(Step(tuple(action for _, action in parts), times=times))
    text = "\n!then\n".join(texts)
    script = parse(text.replace("\n", "\r\n") if crlf else text)
    assert script == Script(tuple(steps))
    rounds = [step for step in steps for _ in range(step.times)]
    assert [script.step_at(number) for number in range(len(rounds) + 1)] == [*rounds, None]


@given(st.text())
def test_deltas_join_to_the_text(text):
    assert "".join(words(text)) == text
    assert "".join(pieces(text)) == text


def test_endings_and_attributes():
    script = parse(
        "```\n!headers x-a=1 X-B=two\n!usage 5 6 7\n!cut-once\n!fail rate_limit_exceeded slow down\n```\n"
    )
    assert script.steps == (
        Step(
            (Cut(once=True), Fail("rate_limit_exceeded", "slow down")),
            headers=(("x-a", "1"), ("x-b", "two")),
            usage=Usage(5, 6, 7, 0),
        ),
    )
    assert parse("!hang").steps == (Step((Hang(),)),)
    assert parse("!incomplete max_output_tokens").steps == (Step((Incomplete("max_output_tokens"),)),)
    assert parse('!status 429 retry-after=1 {"a": 1}').steps == (
        Step(status=Status(429, (("retry-after", "1"),), '{"a": 1}')),
    )


@pytest.mark.parametrize(
    ("text", "wrong_line", "reason"),
    [
        ("hello\n!sya hi", 2, "unknown directive !sya. Did you mean !say?"),
        ("!say", 1, "something must follow"),
        ("!say a\n!then\n!say b", 1, "calls no tool"),
        ("!run a\n!then", 2, "the step at this !then is empty"),
        ("!repeat 3\n!say a", 1, "cannot be repeated"),
        ("!hang\n!say a", 2, "nothing can follow !hang"),
        ("!patch\n*** Begin Patch", 1, "no line `*** End Patch`"),
        ("!sleep forever", 1, "wants seconds"),
        ("!sleep 99999", 1, "wants seconds"),
        ("!status 200", 1, "from 400 to 599"),
        ("!status 500 {oops}", 1, "no JSON"),
        ("!headers content-length=5", 1, "response header"),
        ("!plan do it", 1, "wants `[x] done"),
        ("!usage 1", 1, "wants IN OUT"),
    ],
)
def test_a_wrong_script_is_refused_with_a_reason(text, wrong_line, reason):
    with pytest.raises(ScriptError) as caught:
        parse(text)
    assert caught.value.line == wrong_line
    assert reason in caught.value.reason


def test_every_directive_is_documented():
    page = (ROOT / "docs" / "scripted-model.md").read_text(encoding="utf-8")
    for directive in DIRECTIVES:
        mention = re.compile(rf"!{directive}(?![a-z-])")
        assert mention.search(page), directive
        assert mention.search(modelserver.__doc__), directive


# Where a conversation stands


def test_the_clients_own_messages_are_passed_over():
    body = {
        "input": [
            user("!run a"),
            user("<environment_context>\n<cwd>/x</cwd>\n!say trap\n</environment_context>"),
            user("# AGENTS.md instructions\n!say trap"),
        ]
    }
    found = conversation.of_responses(body)
    assert (found.text, found.turn) == ("!run a", 1)


def test_an_image_keeps_its_text():
    content = [
        {"type": "input_text", "text": "<image name=[Image #1]>"},
        {"type": "input_image", "image_url": "data:"},
        {"type": "input_text", "text": "</image>"},
        {"type": "input_text", "text": "!say seen"},
    ]
    assert conversation.of_responses({"input": [{"role": "user", "content": content}]}).text == "!say seen"


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=6), st.booleans())
def test_rounds_are_counted_however_outputs_are_ordered(rounds, foreign):
    given_items = [user("!run a")]
    for number, (calls, interleaved) in enumerate(rounds):
        ids = [
            f"foreign{number}{k}" if foreign else conversation.call_id("u", number, k) for k in range(calls)
        ]
        asked = [{"type": "function_call", "call_id": identity} for identity in ids]
        came = [{"type": "function_call_output", "call_id": identity, "output": ""} for identity in ids]
        if interleaved and not foreign:
            given_items += [item for pair in zip(asked, came, strict=True) for item in pair]
        else:
            given_items += asked + came
    found = conversation.of_responses({"input": given_items})
    assert found.step == len(rounds)
    assert found.outputs == sum(calls for calls, _ in rounds)
    later = conversation.of_responses({"input": [*given_items, user("next")]})
    assert (later.text, later.step, later.turn) == ("next", 0, 2)


# The Responses API


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


def test_an_answer_in_one_piece(client):
    answer = client.post("/responses", json={"input": "!say Hi\n!sleep 0.001"}).json()
    assert (answer["object"], answer["status"], answer["model"]) == (
        "response",
        "completed",
        "scripted-model",
    )
    assert answer["output"][0]["content"][0]["text"] == "Hi"


# Accidents


def test_failed_and_incomplete(client):
    events = respond(client, [user("!say part\n!fail context_length_exceeded Too long.")])
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"] == {"code": "context_length_exceeded", "message": "Too long."}
    events = respond(client, [user("!say part\n!incomplete max_output_tokens")])
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert said(events) == ["part"]


def test_a_status_with_headers_and_body(client):
    script = '!headers x-codex-primary-used-percent=12.5\n!status 429 retry-after=1 {"error": {"type": "x"}}'
    answer = client.post("/responses", json={"model": "m", "input": [user(script)], "stream": True})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.headers["x-codex-primary-used-percent"] == "12.5"
    assert answer.json() == {"error": {"type": "x"}}
    plain = client.post("/responses", json={"model": "m", "input": [user("!status 503")]})
    assert (plain.status_code, plain.json()["error"]["code"]) == (503, "scripted_status")


def test_headers_of_a_stream(client):
    with client.stream(
        "POST", "/responses", json={"input": "!headers x-a=1\n!say a", "stream": True}
    ) as answer:
        assert answer.headers["x-a"] == "1"


def test_once_means_once_in_each_turn_of_each_thread(client):
    script = user("!status-once 500\n!say Recovered.")

    def ask(thread, *history):
        body = {"input": [*history, script], "stream": True, "prompt_cache_key": thread}
        return client.post("/responses", json=body).status_code

    assert [ask("a"), ask("a"), ask("b"), ask("b")] == [500, 200, 500, 200]
    assert [ask("a", script), ask("a", script)] == [500, 200]


def test_a_torn_and_a_clean_cut(client):
    torn = {"input": "!cut", "stream": True}
    with pytest.raises(httpx.RemoteProtocolError), client.stream("POST", "/responses", json=torn) as answer:
        for _ in answer.iter_text():
            pass
    events = sse(client.post("/responses", json={"input": "!cut clean", "stream": True}).text)
    assert [event["type"] for event in events[-2:]] == ["response.output_text.delta"] * 2
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/responses", json={"input": "!cut"})


def test_a_cut_once_is_played_on_by_the_retry(client):
    body = {"input": "!cut-once clean\n!say Back.", "stream": True, "prompt_cache_key": "cut-once"}
    first, second = (sse(client.post("/responses", json=body).text) for _ in range(2))
    assert first[-1]["type"] == "response.output_text.delta"
    assert said(second) == ["Back."]


def test_a_hanging_stream_ends_with_its_client(model, client):
    with client.stream("POST", "/responses", json={"input": "!hang", "stream": True}) as answer:
        chunks = answer.iter_text()
        while "partial" not in next(chunks):
            pass
        assert model.health()["streams"] == 1
    [request] = model.wait_for(lambda log: log[0].state != "open")
    assert (request.state, request.status) == ("gone", 200)


def test_a_slow_stream_ends_with_its_client(model, client):
    with client.stream("POST", "/responses", json={"input": "!stream 1000 3600", "stream": True}) as answer:
        next(answer.iter_raw())
    model.wait_for(lambda log: log[0].state == "gone")


# Chat


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


# The server


def test_models_and_health(client, model):
    assert client.get("/models").json()["data"][0]["id"] == "scripted-model"
    assert model.health()["status"] == "ok"


def test_the_log_masks_credentials(client, model):
    secret = "sk-very-secret"
    for token in (secret, secret, "another"):
        client.post("/responses", json={"input": "!say a"}, headers={"authorization": f"Bearer {token}"})
    seen = [request.headers["authorization"] for request in model.requests()]
    assert seen[0] == seen[1] != seen[2]
    assert seen[0].startswith("Bearer ***")
    assert secret not in json.dumps([request.headers for request in model.requests()])
    assert model.requests()[0].body == {"input": "!say a"}
    assert [request.state for request in model.requests()] == ["done"] * 3


def test_waiting_for_what_never_comes(model):
    model.clear()
    with pytest.raises(TimeoutError, match="0 requests"):
        model.wait_for(lambda log: len(log) > 0, timeout=0.05)


def test_a_packed_body(client, model):
    raw = json.dumps({"input": "!say packed"}).encode()
    packed = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = client.post("/responses", content=gzip.compress(raw), headers=packed)
    assert answer.json()["output"][0]["content"][0]["text"] == "packed"
    assert model.requests()[-1].body == {"input": "!say packed"}
    assert client.post("/responses", content=gzip.compress(raw)[:-9], headers=packed).status_code == 400
    assert client.post("/responses", content=b"no gzip", headers=packed).status_code == 400
    zstd = client.post("/responses", content=raw, headers={"content-encoding": "zstd"})
    assert zstd.status_code == 415


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/responses", b"{not json", 400),
        ("/responses", b"[]", 400),
        ("/responses", b'{"model": 5, "input": []}', 400),
        ("/responses", b'{"input": {}}', 400),
        ("/responses", b"[" * 100_000, 400),
        ("/chat/completions", b'{"input": []}', 400),
        ("/nowhere", b"{}", 404),
    ],
)
def test_a_bad_request_is_refused_and_logged(client, model, path, content, status):
    answer = client.post(path, content=content)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert [(request.path, request.status) for request in model.requests()] == [(f"/v1{path}", status)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("type", "role", "content", "text", "tools", "name", "call_id", "output", "tool_call_id", "parameters")
messy = st.dictionaries(
    st.sampled_from(KEYS), json_values | st.sampled_from(["user", "message", "tool", "function"])
)


@given(st.lists(messy | json_values, max_size=5), st.lists(messy | json_values, max_size=3))
def test_any_json_is_a_conversation(entries, tools):
    conversation.of_responses({"input": entries, "tools": tools})
    conversation.of_chat({"messages": entries, "tools": tools})


def test_two_hundred_streams_at_a_time(model):
    model.clear()
    clients, deltas = 200, 20

    async def one(http, number):
        text = f"!say Client {number}.\n!stream {deltas} 0.01"
        answer = await http.post("/responses", json={"input": text, "stream": True})
        return said(sse(answer.text))

    async def all_of_them():
        limits = httpx.Limits(max_connections=clients)
        async with httpx.AsyncClient(base_url=model.url, timeout=60, limits=limits, trust_env=False) as http:
            return await asyncio.gather(*(one(http, number) for number in range(clients)))

    numbered = " ".join(f"w{number:04d}" for number in range(1, deltas + 1))
    assert asyncio.run(all_of_them()) == [[f"Client {number}.", numbered] for number in range(clients)]
    assert {request.state for request in model.requests()} == {"done"}


# The command


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "modelserver", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_hanging_streams_and_the_process(tmp_path, number):
    port_file = tmp_path / "port"
    with start("--port-file", str(port_file)) as process:
        url = json.loads(process.stdout.readline())["url"]
        assert url == f"http://127.0.0.1:{int(port_file.read_text())}/v1"
        with httpx.Client(trust_env=False) as http, contextlib.ExitStack() as streams:
            for script in ("!hang", "!stream 99 3600", "!sleep 3600"):
                opened = http.stream("POST", f"{url}/responses", json={"input": script, "stream": True})
                answer = streams.enter_context(opened)
                assert answer.status_code == 200
            process.send_signal(number)
            assert process.wait(30) == 0
        assert process.stderr.read() == ""
        assert process.stdout.read() == ""
    assert list(tmp_path.iterdir()) == []


def test_the_server_ends_with_its_standard_input():
    with start("--end-with-stdin", stdin=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["url"].endswith("/v1")
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_only_loopback_is_listened_on(host):
    with start("--host", host) as process:
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2
    assert host in complaint
    assert "Traceback" not in complaint


def test_a_taken_port_is_an_error_and_no_traceback(model):
    port = model.url.split(":")[2].removesuffix("/v1")
    with start("--port", port) as process:
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "in use" in complaint
    assert "Traceback" not in complaint


def test_the_child_ends_with_its_context():
    with scripted_model() as model:
        pid = model.pid
    assert model.process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
