"""A model whose answers are not of the API's form: what can be read counts, as with Codex 0.169, and no worker dies of the rest."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from running_server import write_config
from test_turns import items

TEXT = [{"type": "output_text", "text": "read"}]
CREATED = {"type": "response.created", "response": {"id": "r"}}
COMPLETED = {"type": "response.completed", "response": {"id": "r"}}


@contextmanager
def answering(*events):
    """A model that always answers with these; its url, and the bodies of the requests."""
    asked = []
    answer = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in (CREATED, *events, COMPLETED))

    class Model(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as listener:
        serving = threading.Thread(target=listener.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/v1", asked
        finally:
            listener.shutdown()
            serving.join()


def done(**item):
    return {"type": "response.output_item.done", "item": item}


def said(**fields):
    return done(**{"type": "message", "role": "assistant", "content": TEXT, **fields})


def thought(**fields):
    return done(**{"type": "reasoning", "id": "rs_1", "summary": [], **fields})


def called(**fields):
    return done(
        **{"type": "function_call", "call_id": "c", "name": "exec_command", "arguments": "{}", **fields}
    )


ODD = {
    "a message without content": said(id="m", content=None),
    "a text for content": said(id="m", content="text"),
    "a text for a part": said(id="m", content=["text"]),
    "a part without text": said(id="m", content=[{"type": "output_text", "text": None}]),
    "a number for an id": said(id=5),
    "a message without a role": said(id="m", role=None),
    "a text for a summary": thought(summary="text"),
    "a text for a part of a summary": thought(summary=["text"]),
    "a call without an id": called(call_id=None),
    "a call of nothing": called(name=None),
    "a call with an object for arguments": called(arguments={"cmd": "true"}),
    "a call without input": done(type="custom_tool_call", call_id="c", name="apply_patch"),
    "an item of no kind": done(id="x"),
    "an item whose kind is a number": done(id="x", type=5),
}


@pytest.mark.parametrize("event", ODD.values(), ids=ODD)
def test_an_item_that_cannot_be_read_is_none(server, home, event):
    with answering(event, said(id="m_1")) as (url, asked):
        write_config(home, url)
        client = server()
        thread = client.start_thread()
        told = client.turn(thread, "hi")
        assert told[-1]["params"]["turn"]["status"] == "completed"
        assert [item["id"] for item in items(told, "agentMessage")] == ["m_1"]
        assert items(told, "reasoning") == []
        client.turn(thread, "again")
    kinds = [item["type"] for item in asked[-1]["input"] if item.get("role") not in ("user", "developer")]
    assert kinds == ["message"]


def test_items_without_ids_get_some_of_their_own(server, home):
    delta = {"type": "response.output_text.delta", "delta": "read"}
    thinking = done(type="reasoning", summary=[{"type": "summary_text", "text": "hm"}])
    with answering(thinking, delta, said(), said()) as (url, asked):
        write_config(home, url)
        client = server()
        thread = client.start_thread()
        told = client.turn(thread, "hi")
        ids = [item["id"] for kind in ("reasoning", "agentMessage") for item in items(told, kind)]
        assert [identity.split("_")[0] for identity in ids] == ["rs", "msg", "msg"]
        assert len(set(ids)) == len(ids)
        begun = [line["params"]["item"] for line in told if line["method"] == "item/started"]
        assert [item["id"] for item in begun if item["type"] != "userMessage"] == ids
        client.turn(thread, "again")
    assert [item["id"] for item in asked[-1]["input"] if item.get("id") in ids] == ids


def test_an_item_that_ends_as_another_kind_than_it_began_is_one_of_that_kind(server, home):
    began = {"type": "response.output_item.added", "item": {"type": "reasoning", "id": "x"}}
    with answering(began, said(id="x")) as (url, _):
        write_config(home, url)
        told = (client := server()).turn(client.start_thread(), "hi")
    assert told[-1]["params"]["turn"]["status"] == "completed"
    assert [item["text"] for item in items(told, "agentMessage")] == ["read"]


def test_what_belongs_to_a_thought_that_never_began_is_not_told(server, home):
    kinds = ("reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_text.delta")
    parts = [{"type": f"response.{kind}", "item_id": "rs_1", "delta": "hm"} for kind in kinds]
    with answering(*parts, thought()) as (url, _):
        write_config(home, url)
        told = (client := server()).turn(client.start_thread(), "hi")
    assert [item["id"] for item in items(told, "reasoning")] == ["rs_1"]
    assert not [line["method"] for line in told if line["method"].startswith("item/reasoning/")]
