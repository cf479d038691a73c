"""What only a client can do: the tools that it brings, and the questions to its user."""

from __future__ import annotations

import json

import pytest
from protocol_client import LATER, RpcError
from test_turns import items

LOOKUP = {
    "type": "function",
    "name": "lookup",
    "description": "Looks up.",
    "inputSchema": {"type": "object", "properties": {"key": {"type": "string"}}},
}
TOOLS = [
    LOOKUP,
    {
        "type": "namespace",
        "name": "box",
        "description": "A box.",
        "tools": [{**LOOKUP, "name": "open", "description": "Opens it."}],
    },
]
OFFERED = ["lookup", "box"]
FOUND = {"contentItems": [{"type": "inputText", "text": "found"}], "success": True}
CALL = '!tool lookup {"key": "a"}\n!then\n!say done'

QUESTION = {
    "id": "colour",
    "header": "Colour",
    "question": "Which one?",
    "options": [{"label": "red", "description": "like fire"}, {"label": "blue", "description": "like ice"}],
}
ASK = f"!tool request_user_input {json.dumps({'questions': [QUESTION]})}\n!then\n!say done"
PLAN_MODE = {
    "mode": "plan",
    "settings": {"model": "gpt-6.1-sol", "reasoning_effort": None, "developer_instructions": None},
}

BOOM = RpcError(-32000, "boom")
WRONG = [{"nonsense": 1}, {"contentItems": [{"type": "unheard of"}], "success": True}, {"answers": 1}, "text"]


class Answers:
    """A client that gives the answers it was made with, in order; an error among them is one."""

    def __init__(self, *answers):
        self._left = list(answers)
        self.asked = []

    def __call__(self, method, params):
        self.asked.append((method, params))
        answer = self._left.pop(0)
        if isinstance(answer, RpcError):
            raise answer
        return answer


def outputs(model):
    """What the model was told of its calls, in the newest request."""
    return [
        item["output"]
        for item in model.requests()[-1].body["input"]
        if item.get("type") == "function_call_output"
    ]


def offered(model):
    """The client's tools among those of the newest request."""
    return [tool for tool in model.requests()[-1].body["tools"] if tool.get("name") in OFFERED]


def names(lines):
    """Methods in the order of their lines; an answer is `result`."""
    return [line.method or "result" for line in lines]


# --- tools: what is stored ----------------------------------------------------------------------------------


def test_the_clients_tools_outlive_worker_server_and_fork(server, model, home):
    client = server(handler=Answers(FOUND, FOUND, FOUND, FOUND))
    thread = client.start_thread(dynamicTools=TOOLS)
    client.kill_worker(thread)  # before there is a file
    told = client.turn(thread, CALL)
    first = offered(model)
    assert [tool["name"] for tool in first] == OFFERED
    assert items(told, "dynamicToolCall")[0]["status"] == "completed"
    [rollout] = (home / "sessions").rglob("*.jsonl")
    assert json.loads(rollout.read_text().partition("\n")[0])["payload"]["dynamic_tools"] == TOOLS

    client.kill_worker(thread)
    told = client.turn(thread, '!tool box/open {"key": "b"}\n!then\n!say done')
    assert offered(model) == first
    [item] = items(told, "dynamicToolCall")
    assert (item["namespace"], item["tool"], item["status"]) == ("box", "open", "completed")
    client.close()

    client = server(handler=Answers(FOUND, FOUND))
    client.request("thread/resume", {"threadId": thread})
    client.turn(thread, CALL)
    assert (offered(model), outputs(model)[-1]) == (first, "found")
    fork = client.request("thread/fork", {"threadId": thread})["thread"]["id"]
    client.turn(fork, CALL)
    assert offered(model) == first


def test_tools_that_are_not_understood_cost_nothing_but_themselves(server, model, home):
    client = server()
    thread = client.start_thread(dynamicTools=[LOOKUP])
    client.turn(thread, "!say one")
    client.close()
    [rollout] = (home / "sessions").rglob("*.jsonl")
    rollout.write_text(
        rollout.read_text().replace('"dynamic_tools":[{"type":"function"', '"dynamic_tools":[{"type":"x"')
    )
    client = server()
    client.request("thread/resume", {"threadId": thread})
    client.turn(thread, "!say two")
    assert offered(model) == []


# --- tools: answers that are none -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (BOOM, "dynamic tool request failed"),
        *((wrong, "dynamic tool response was invalid") for wrong in WRONG),
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_a_failed_call_and_the_turn_goes_on(server, model, answer, text):
    client = server(handler=Answers(answer))
    thread = client.start_thread(dynamicTools=TOOLS)
    told = client.turn(thread, CALL)
    [item] = items(told, "dynamicToolCall")
    assert (item["status"], item["success"]) == ("failed", False)
    assert item["contentItems"] == [{"type": "inputText", "text": text}]
    assert outputs(model) == [text]
    assert told[-1]["params"]["turn"]["status"] == "completed"


def test_an_interrupt_ends_an_open_call_before_it_is_answered(server, model):
    client = server(handler=Answers(LATER))
    thread = client.start_thread(dynamicTools=TOOLS)
    since = client.mark()
    turn = client.begin_turn(thread, CALL)
    asked = client.wait_for("item/tool/call", since=since)
    since = client.mark()
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert client.end_of(turn, since=since)["status"] == "interrupted"
    lines = [line for line in client.received(since=since) if line.method not in QUIET]
    assert names(lines) == ["item/completed", "result", "thread/status/changed", "turn/completed"]
    item = lines[0].params["item"]
    assert (item["status"], item["success"], item["contentItems"]) == ("failed", False, [])
    # An answer that comes too late is nobody's.
    client.respond(asked.message["id"], FOUND)
    client.turn(thread, "!say after")
    assert "found" not in outputs(model)
    assert len(outputs(model)) == 1


# --- questions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"answers": {"colour": {"answers": ["red"]}}}, '{"answers":{"colour":{"answers":["red"]}}}'),
        *((wrong, '{"answers":{}}') for wrong in (BOOM, *WRONG)),
    ],
    ids=str,
)
def test_a_question_that_is_not_answered_has_no_answers(server, model, answer, text):
    client = server(handler=Answers(answer))
    thread = client.start_thread()
    since = client.mark()
    told = client.turn(thread, ASK, collaborationMode=PLAN_MODE)
    assert told[-1]["params"]["turn"]["status"] == "completed"
    assert outputs(model) == [text]
    asked = client.wait_for("item/tool/requestUserInput", since=since)
    assert asked.params["questions"] == [{**QUESTION, "isOther": True, "isSecret": False}]
    lines = [line for line in client.received(since=since) if line.index >= asked.index - 1]
    waiting, _, resolved, active = lines[:4]
    assert waiting.params["status"] == {"type": "active", "activeFlags": ["waitingOnUserInput"]}
    assert (resolved.method, resolved.params["requestId"]) == ("serverRequest/resolved", asked.message["id"])
    assert active.params["status"] == {"type": "active", "activeFlags": []}


def test_an_interrupt_takes_an_open_question_back(server, model):
    client = server(handler=Answers(LATER))
    thread = client.start_thread()
    since = client.mark()
    client.request("thread/settings/update", {"threadId": thread, "collaborationMode": PLAN_MODE})
    turn = client.begin_turn(thread, ASK)
    asked = client.wait_for("item/tool/requestUserInput", since=since)
    since = client.mark()
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    resolved = client.wait_for("serverRequest/resolved", since=since)
    assert resolved.params["requestId"] == asked.message["id"]
    lines = [line for line in client.received(since=since) if line.method not in QUIET]
    assert names(lines) == ["result", "thread/status/changed", "turn/completed", "serverRequest/resolved"]
    client.respond(asked.message["id"], {"answers": {"colour": {"answers": ["red"]}}})
    client.turn(thread, "!say after")
    assert "red" not in outputs(model)[0]


# Told of every response, and of no interest for what is asked here.
QUIET = {
    "thread/tokenUsage/updated",
    "account/rateLimits/updated",
    "thread/readState/changed",
}


def test_a_tool_without_a_type_is_a_function_as_it_once_was(server, model):
    client = server()
    thread = client.start_thread(dynamicTools=[{"name": "old", "description": "d", "inputSchema": {}}])
    client.turn(thread, "!say ok")
    assert "old" in {tool.get("name") for tool in model.requests()[-1].body["tools"]}
