"""Threads with MCP servers: their settings, a server that tests share, calls in turns."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from running_server import (
    MARK,
    Marked,
    RunningServer,
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


def items(client, thread):
    return [params["item"] for params in told(client, "item/completed", thread)]
