"""MCP servers end with their thread, worker or front, and are replaced where one goes on."""

from __future__ import annotations

import json
import os
import signal

import mcp_threads
import pytest
from mcp_threads import FALLBACK, SERVER, begin, brought, call, program, settle, statuses, table
from running_server import (
    await_ends,
    children,
    command_line,
)

client = mcp_threads.client
configure = mcp_threads.configure
shared = mcp_threads.shared


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
