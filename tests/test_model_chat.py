"""The Chat Completions API: what servers of it are sent, and what is made of their chunks."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_http import ScriptedServer, ask, chunked, collect, kinds, raw, refuse, run, stream

from workers.models import ModelRequest, Reasoning
from workers.models.chat import ChatDecoder
from workers.models.chat_request import ChatTools, messages
from workers.models.events import (
    Completed,
    Created,
    ItemDone,
    MessageStarted,
    ReasoningDelta,
    TextDelta,
    TokenUsage,
)

SHELL = {
    "type": "function",
    "name": "shell",
    "description": "d",
    "parameters": {"type": "object"},
    "strict": False,
}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
}
SPACE = {
    "type": "namespace",
    "name": "mcp__echo",
    "tools": [{"type": "function", "name": "echo", "parameters": {}}],
}
TOOLS = [SHELL, PATCH, SPACE, {"type": "web_search"}]


def chunk(delta=None, finish=None, **more):
    return {"id": "chat-1", "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def call(index=0, call_id=None, name=None, arguments=None):
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return {k: v for k, v in (("index", index), ("id", call_id), ("function", function)) if v is not None}


USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
LAST = {"id": "chat-1", "choices": [], "usage": USAGE}


def chat(*events, request=None):
    return ask(stream(*events), wire_api="chat", request=request or ModelRequest(model="m", tools=TOOLS))


def items(events):
    return [event.item for event in events if isinstance(event, ItemDone)]


def test_text():
    events, raised, (seen,) = chat(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk(None, "stop"),
        LAST,
        b"[DONE]",
    )
    assert raised is None
    assert seen.target == "/v1/chat/completions"
    item_id = events[1].item_id
    part = {"type": "output_text", "text": "Hello", "annotations": []}
    assert events[:-1] == [
        Created("chat-1"),
        MessageStarted(item_id),
        TextDelta(item_id, "Hel"),
        TextDelta(item_id, "lo"),
        ItemDone({"type": "message", "id": item_id, "role": "assistant", "content": [part]}),
        Completed("chat-1", TokenUsage(10, 3, 0, 4, 2, 14)),
    ]
    assert kinds(events)[-1] == "RateLimits"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thoughts_text_and_a_call(field):
    events, _, _ = chat(
        chunk({field: "think"}),
        chunk({"content": "\n\n"}),
        chunk({"content": "I will."}),
        chunk({"tool_calls": [call(0, "c1", "shell", "")]}),
        chunk({"tool_calls": [call(0, None, None, '{"a"')]}),
        chunk({"tool_calls": [call(0, None, None, ":1}")]}),
        chunk(None, "tool_calls"),
        LAST,
        b"[DONE]",
    )
    thought, said, called = items(events)
    assert thought["content"] == [{"type": "reasoning_text", "text": "think"}]
    assert [e for e in events if isinstance(e, ReasoningDelta)] == [ReasoningDelta(thought["id"], 0, "think")]
    assert said["content"][0]["text"] == "\n\nI will."
    assert called == {
        "type": "function_call",
        "id": called["id"],
        "call_id": "c1",
        "status": "completed",
        "name": "shell",
        "arguments": '{"a":1}',
    }
    assert len({thought["id"], said["id"], called["id"]}) == 3


def test_blank_text_before_a_call_is_no_message():
    events, _, _ = chat(
        chunk({"content": "\n\n"}),
        chunk({"tool_calls": [call(0, "c", "shell", "{}")]}, "tool_calls"),
        b"[DONE]",
    )
    assert [item["type"] for item in items(events)] == ["function_call"]
    assert "MessageStarted" not in kinds(events)


CALL_STREAMS = {
    "by index": [call(0, "a", "shell", '{"n":1}'), call(1, "b", "shell", '{"n":2}')],
    "interleaved": [
        call(0, "a", "shell", ""),
        call(1, "b", "shell", '{"n"'),
        call(0, None, None, '{"n":1}'),
        call(1, None, None, ":2}"),
    ],
    "all index 0": [call(0, "a", "shell", '{"n":1}'), call(0, "b", "shell", '{"n":2}')],
    "all index 0, no ids": [call(0, None, "shell", '{"n":1}'), call(0, "", "shell", '{"n":2}')],
    "no index": [
        call(None, "a", "shell", '{"n"'),
        call(None, None, None, ":1}"),
        call(None, "b", "shell", '{"n":2}'),
    ],
    "nothing but names": [call(None, None, "shell", '{"n":1}'), call(None, None, "shell", '{"n":2}')],
    "objects": [call(0, "a", "shell", {"n": 1}), call(1, "b", "shell", {"n": 2})],
    "name repeated": [
        call(0, "a", "shell", '{"n'),
        call(0, "a", "shell", '":1}'),
        call(1, "b", "shell", '{"n":2}'),
    ],
}


@pytest.mark.parametrize("way", CALL_STREAMS)
def test_the_ways_servers_send_two_calls(way):
    events, _, _ = chat(
        *(chunk({"tool_calls": [delta]}) for delta in CALL_STREAMS[way]), chunk(None, "tool_calls")
    )
    assert [json.loads(item["arguments"]) for item in items(events)] == [{"n": 1}, {"n": 2}]
    assert len({item["call_id"] for item in items(events)}) == 2


def test_a_call_id_of_the_history_is_not_used_again():
    history = [{"type": "function_call", "call_id": "call_0", "name": "shell", "arguments": "{}"}]
    events, _, _ = chat(
        chunk({"tool_calls": [call(0, "call_0", "shell", "{}")]}, "tool_calls"),
        request=ModelRequest(model="m", tools=TOOLS, input=[raw(history[0])]),
    )
    assert items(events)[0]["call_id"] not in {"call_0", ""}


@pytest.mark.parametrize(
    "arguments", ['{"input": "*** Begin"}', '"*** Begin"', "*** Begin", {"input": "*** Begin"}]
)
def test_a_custom_tool_gets_its_text(arguments):
    events, _, _ = chat(chunk({"tool_calls": [call(0, "c", "apply_patch", arguments)]}, "tool_calls"))
    (item,) = items(events)
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", "*** Begin")


def test_a_namespaced_tool_is_found_again():
    events, _, _ = chat(chunk({"tool_calls": [call(0, "c", "mcp__echo__echo", "")]}, "tool_calls"))
    (item,) = items(events)
    assert (item["namespace"], item["name"], item["arguments"]) == ("mcp__echo", "echo", "{}")


# --- ends ----------------------------------------------------------------------------------------


def test_no_done_and_no_usage():
    events, raised, _ = chat(chunk({"content": "x"}), chunk(None, "stop"))
    assert raised is None
    assert events[-2] == Completed("chat-1", None)


def test_done_without_a_finish_reason():
    events, raised, _ = chat(chunk({"content": "x"}), b"[DONE]")
    assert raised is None
    assert "Completed" in kinds(events)


def test_a_connection_that_stays_open_after_the_last_chunk():
    async def main():
        async with ScriptedServer(
            chunked(chunk({"content": "x"}), chunk(None, "stop"), LAST, end=False)
        ) as server:
            return await collect(server, wire_api="chat")

    events, raised = run(main())
    assert raised is None
    assert events[-2] == Completed("chat-1", TokenUsage(10, 3, 0, 4, 2, 14))


def test_a_cut():
    events, raised, requests = chat(chunk({"content": "x"}))
    assert raised.message == "stream disconnected before completion: stream closed before response.completed"
    assert len(requests) == 2
    assert kinds(events).count("Retrying") == 1


def test_the_token_limit():
    events, raised, requests = chat(
        chunk({"content": "par"}),
        chunk({"tool_calls": [call(0, "c", "shell", '{"cut')]}),
        chunk(None, "length"),
        LAST,
        b"[DONE]",
    )
    assert raised.message == "Incomplete response returned, reason: max_output_tokens"
    assert [item["type"] for item in items(events)] == ["message"]
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"message": "boom", "code": 500}, "stream disconnected before completion: boom"),
        ("boom", "stream disconnected before completion: boom"),
        ({"message": "slow", "code": "rate_limit_exceeded"}, "rate limit exceeded: slow"),
    ],
)
def test_an_error_inside_the_stream(told, text):
    _, raised, _ = chat(chunk({"content": "x"}), {"error": told})
    assert raised.message == text


def test_refusals_are_those_of_the_responses_api():
    events, raised, requests = ask(refuse(404, {"error": "model 'x' not found"}), wire_api="chat")
    assert raised.message.startswith(
        "unexpected status 404 Not Found: model 'x' not found, url: http://127.0.0.1:"
    )
    assert kinds(events) == ["Retrying"]
    assert len(requests) == 2


def test_parts_instead_of_text():
    events, _, _ = chat(chunk({"content": [{"type": "text", "text": "a"}, {"type": "odd"}]}, "stop"))
    assert items(events)[0]["content"][0]["text"] == "a"


@given(st.binary(max_size=60))
def test_no_data_breaks_the_decoder(data):
    decoder = ChatDecoder(ChatTools(TOOLS))
    decoder.feed(data)
    decoder.end()


# --- what is sent --------------------------------------------------------------------------------


def text(role, said, kind="input_text"):
    return {"type": "message", "role": role, "content": [{"type": kind, "text": said}]}


def function_call(call_id, arguments="{}"):
    return {"type": "function_call", "call_id": call_id, "name": "shell", "arguments": arguments}


def output(call_id, value="ok"):
    return {"type": "function_call_output", "call_id": call_id, "output": value}


def test_the_whole_request():
    request = ModelRequest(
        model="m",
        instructions="Be kind.",
        input=[raw(text("user", "hi"))],
        tools=TOOLS,
        reasoning=Reasoning(effort="low"),
        output_schema={"type": "object"},
        prompt_cache_key="T",
    )
    _, _, (seen,) = chat(chunk({"content": "x"}, "stop"), b"[DONE]", request=request)
    sent = seen.json
    tools = sent.pop("tools")
    assert sent == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "codex_output_schema", "strict": True, "schema": {"type": "object"}},
        },
    }
    assert [tool["function"]["name"] for tool in tools] == ["shell", "apply_patch", "mcp__echo__echo"]
    assert tools[0] == {
        "type": "function",
        "function": {"name": "shell", "description": "d", "parameters": {"type": "object"}},
    }
    assert tools[1]["function"]["parameters"]["required"] == ["input"]
    assert tools[1]["function"]["description"].endswith("lark grammar:\nstart: x")


def test_without_tools_nothing_is_said_of_them():
    _, _, (seen,) = chat(chunk({"content": "x"}, "stop"), request=ModelRequest(model="m"))
    assert set(seen.json) == {"model", "messages", "stream", "stream_options"}


def test_a_turn_with_calls():
    assert messages(
        "base",
        [
            text("developer", "rules"),
            text("user", "<environment_context>"),
            text("user", "go"),
            {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "E"},
            text("assistant", "Let me look.", "output_text"),
            function_call("a", '{"n":1}'),
            {"type": "custom_tool_call", "call_id": "b", "name": "apply_patch", "input": "*** x"},
            output("a"),
            {
                "type": "custom_tool_call_output",
                "call_id": "b",
                "output": [{"type": "input_text", "text": "done"}],
            },
            {
                "type": "function_call",
                "call_id": "c",
                "namespace": "mcp__echo",
                "name": "echo",
                "arguments": "{}",
            },
            output("c"),
            text("assistant", "Done.", "output_text"),
        ],
    ) == [
        {"role": "system", "content": "base\n\nrules"},
        {"role": "user", "content": "<environment_context>\n\ngo"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "shell", "arguments": '{"n":1}'}},
                {
                    "id": "b",
                    "type": "function",
                    "function": {"name": "apply_patch", "arguments": '{"input":"*** x"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
        {"role": "tool", "tool_call_id": "b", "content": "done"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "mcp__echo__echo", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
        {"role": "assistant", "content": "Done."},
    ]


def test_calls_that_an_interrupt_left_open_are_answered():
    sent = messages("", [function_call("a"), function_call("b"), output("a"), text("user", "stop")])
    assert [(m["role"], m.get("tool_call_id")) for m in sent] == [
        ("assistant", None),
        ("tool", "a"),
        ("tool", "b"),
        ("user", None),
    ]
    assert sent[2]["content"] == "aborted"


def test_an_output_without_its_call_is_told_by_the_user():
    assert messages("", [output("gone", "text")]) == [
        {"role": "user", "content": "Output of an earlier call (gone):\n\ntext"}
    ]


def test_later_instructions_are_the_users():
    sent = messages("", [text("user", "a"), text("assistant", "b", "output_text"), text("developer", "c")])
    assert [m["role"] for m in sent] == ["user", "assistant", "user"]


def test_pictures():
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "original"}
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    sent = messages(
        "",
        [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "see"}, picture]},
            function_call("a"),
            function_call("b"),
            output("a", [picture]),
            output("b"),
        ],
    )
    assert sent[0]["content"] == [{"type": "text", "text": "see"}, shown]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert sent[4]["content"] == [shown]


ITEMS = st.lists(
    st.one_of(
        st.sampled_from(["user", "developer", "assistant", "system"]).map(lambda role: text(role, "t")),
        st.sampled_from("abc").map(function_call),
        st.sampled_from("abc").map(output),
    ),
    max_size=14,
)


@given(ITEMS)
def test_any_history_is_one_that_templates_take(history):
    sent = messages("base", history)
    assert [m["role"] for m in sent].count("system") == 1
    waiting: list[str] = []
    for before, message in pairwise(sent):
        if before["role"] == "assistant":
            waiting += [one["id"] for one in before.get("tool_calls", ())]
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
        else:
            assert waiting == []
            assert (before["role"], message["role"]) != ("user", "user")
