"""What is asked of the scripted model, and what its answers hold."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from modelserver.embedded import scripted_model

ROOT = Path(__file__).resolve().parents[1]

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
