"""A server for tests that look at threads of their own, and what such a thread holds."""

from __future__ import annotations

import json

import pytest
from protocol_client import RpcError
from running_server import Marked, RunningServer, runtime_folder, write_config

NOBODY = "01a20402-fda2-74a2-98ce-91922c68316b"


@pytest.fixture(scope="module")
def client(scripted, tmp_path_factory):
    """One server for the tests that look at nothing but threads of their own."""
    home, workspace = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("workspace")
    write_config(home, scripted.url)
    with runtime_folder() as runtime:
        marked = Marked(home, runtime)
        try:
            with RunningServer(marked=marked, cwd=workspace) as running:
                running.initialize(experimentalApi=True)
                yield running
        finally:
            assert not marked.end(), "processes were left"


def refusal(client, method, **params):
    with pytest.raises(RpcError) as caught:
        client.request(method, params)
    return caught.value.code, caught.value.message


def talk(client, thread, *words):
    """A turn for each word; their ids."""
    ended = [client.turn(thread, f"!say {word}")[-1] for word in words]
    return [line["params"]["turn"]["id"] for line in ended]


def said(client, thread):
    """What the model has said in each turn, by the thread's pages."""
    turns = client.request("thread/turns/list", {"threadId": thread, "sortDirection": "asc"})["data"]
    return [turn["items"][-1]["text"] for turn in turns]


def stored(client, thread):
    """The lines of the thread's present rollout."""
    path = client.request("thread/read", {"threadId": thread})["thread"]["path"]
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]
