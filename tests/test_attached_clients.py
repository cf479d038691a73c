"""Several clients on one thread: all hear it, each question is asked of all, one answer counts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from protocol_client import ProtocolClient, RpcError
from running_server import LOOK_S, Marked, RunningServer
from test_client_tools import CALL, FOUND, TOOLS

ASK = {"sandbox": "workspace-write", "approvalPolicy": "on-request"}
ESCALATE = "!run-escalated echo ran > ran.txt\n!then\n!say done"
APPROVAL = "item/commandExecution/requestApproval"
PATIENCE_S = 30.0
ENDS = ("item/completed", "turn/completed", "serverRequest/resolved")


class Attached:
    """A server with a unix socket beside its stdio, and clients on it."""

    def __init__(self, first: RunningServer, marked: Marked, path: Path, stack: ExitStack) -> None:
        self.first = first
        self._marked = marked
        self._path = path
        self._stack = stack

    def another(self, **capabilities: object) -> ProtocolClient:
        argv = [sys.executable, "-P", "-m", "supervisor", "app-server", "proxy", "--sock", str(self._path)]
        client = ProtocolClient(argv, env=self._marked.env, timeout=PATIENCE_S)
        self._stack.enter_context(client)
        client.initialize(experimentalApi=True, **capabilities)
        return client


@pytest.fixture
def attached(server, marked, tmp_path) -> Iterator:
    path = tmp_path / "server.sock"
    with ExitStack() as stack:

        def start(*arguments: str) -> Attached:
            first = server("--stdio", "--listen", f"unix://{path}", *arguments)
            return Attached(first, marked, path, stack)

        yield start


def resume(client: ProtocolClient, thread: str) -> None:
    client.request("thread/resume", {"threadId": thread, "excludeTurns": True})


def decide(client: ProtocolClient, decision: str) -> None:
    question = client.wait_for(APPROVAL)
    client.respond(question.message["id"], {"decision": decision})


def test_what_one_client_starts_all_attached_hear(attached):
    clients = attached()
    second = clients.another(optOutNotificationMethods=["item/agentMessage/delta"])
    stranger = clients.another()
    thread = clients.first.start_thread()
    clients.first.turn(thread, "!say a thread can be resumed when it has had a turn")
    resume(second, thread)
    clients.first.turn(thread, "!say one two three")
    ended = second.wait_for("turn/completed")
    assert ended.params["turn"]["status"] == "completed"
    heard = [line.method for line in second.received()]
    assert "item/completed" in heard
    assert "item/agentMessage/delta" not in heard
    assert "item/agentMessage/delta" in [line.method for line in clients.first.received()]
    assert not [line for line in stranger.received() if (line.method or "").startswith(("item/", "turn/"))]


def test_a_question_is_repeated_to_who_attaches_and_the_first_answer_counts(attached, workspace):
    clients = attached()
    thread = clients.first.start_thread(**ASK)
    turn = clients.first.begin_turn(thread, ESCALATE)
    asked = clients.first.wait_for(APPROVAL)
    second = clients.another()
    resume(second, thread)
    again = second.wait_for(APPROVAL)
    assert again.params == asked.params
    # After the answer to thread/resume: a client knows the thread by then.
    answered = next(line for line in second.received() if "turnsBackwardsCursor" in str(line.message))
    assert answered.index < again.index
    second.respond(again.message["id"], {"decision": "accept"})
    for client, question in ((clients.first, asked), (second, again)):
        resolved = client.wait_for("serverRequest/resolved")
        assert resolved.params == {"threadId": thread, "requestId": question.message["id"]}
    clients.first.respond(asked.message["id"], {"decision": "cancel"})  # too late
    assert clients.first.end_of(turn)["status"] == "completed"
    assert (workspace / "ran.txt").read_text() == "ran\n"


def test_who_attaches_hears_nothing_of_the_thread_before_the_answer(attached):
    clients = attached()
    first, second = clients.first, clients.another()
    thread = first.start_thread()
    first.turn(thread, "!say a thread can be resumed when it has had a turn")
    since = first.mark()
    turn = first.begin_turn(thread, "!stream 20000 0.0005")
    first.first_delta(thread, since=since)
    for _ in range(20):
        since = second.mark()
        resume(second, thread)
        lines = second.received(since=since)
        assert lines[0].method is None, lines[0].raw
        assert second.request("thread/unsubscribe", {"threadId": thread}) == {"status": "unsubscribed"}
    first.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    first.end_of(turn)


def test_who_is_refused_or_leaves_before_the_answer_is_not_attached(attached):
    clients = attached()
    first, second = clients.first, clients.another()
    thread = first.start_thread()
    first.turn(thread, "!say a thread can be resumed when it has had a turn")
    with pytest.raises(RpcError):
        second.request("thread/resume", {"threadId": thread, "cwd": 5})
    assert second.request("thread/unsubscribe", {"threadId": thread}) == {"status": "notSubscribed"}
    resumed = second.start_request("thread/resume", {"threadId": thread, "excludeTurns": True})
    assert second.request("thread/unsubscribe", {"threadId": thread}) == {"status": "unsubscribed"}
    assert second.result(resumed)["thread"]["id"] == thread
    since = second.mark()
    first.turn(thread, "!say nobody else hears this")
    assert second.request("thread/unsubscribe", {"threadId": thread}) == {"status": "notSubscribed"}
    assert [line.method for line in second.received(since=since) if line.method] == []


def test_an_answer_counts_for_its_own_question_only(attached, workspace):
    """A thread's next worker counts its questions from the beginning."""
    clients = attached()
    first, second = clients.first, clients.another()
    thread = first.start_thread(**ASK)
    first.turn(thread, "!say a thread can be resumed when it has had a turn")
    resume(second, thread)
    turn = first.begin_turn(thread, ESCALATE)
    old = second.wait_for(APPROVAL)
    assert second.request("thread/unsubscribe", {"threadId": thread}) == {"status": "unsubscribed"}
    first.kill_worker(thread)
    first.end_of(turn)
    since = first.mark()
    turn = first.begin_turn(thread, ESCALATE)
    new = first.wait_for(APPROVAL, since=since)
    second.respond(old.message["id"], {"decision": "accept"})
    second.request("thread/loaded/list", {})  # the answer before it has been dealt with
    first.respond(new.message["id"], {"decision": "decline"})
    first.end_of(turn)
    assert not (workspace / "ran.txt").exists()


def test_a_turn_goes_on_without_its_client_and_waits_for_the_next(attached, workspace):
    clients = attached()
    second = clients.another()
    thread = second.request("thread/start", {"cwd": str(workspace), **ASK})["thread"]["id"]
    second.request("turn/start", {"threadId": thread, "input": [{"type": "text", "text": ESCALATE}]})
    second.wait_for(APPROVAL)
    second.close()
    third = clients.another()
    resume(third, thread)
    decide(third, "accept")
    assert third.wait_for("turn/completed").params["turn"]["status"] == "completed"


@pytest.mark.parametrize(("policy", "status"), [("decline", "completed"), ("interrupt", "interrupted")])
def test_nobody_is_there_to_answer(attached, workspace, policy, status):
    clients = attached(
        "-c", f"bulkhead.unattended_approvals={policy}", "-c", "bulkhead.unattended_after_s=0.05"
    )
    second = clients.another()
    thread = second.request("thread/start", {"cwd": str(workspace), **ASK})["thread"]["id"]
    second.request("turn/start", {"threadId": thread, "input": [{"type": "text", "text": ESCALATE}]})
    second.wait_for(APPROVAL)
    second.close()
    # Reading does not attach, and no event reaches who is not attached.
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        read = clients.first.request("thread/read", {"threadId": thread, "includeTurns": True})
        if read["thread"]["status"]["type"] == "idle":
            break
        time.sleep(LOOK_S)
    assert [turn["status"] for turn in read["thread"]["turns"]] == [status]
    assert not (workspace / "ran.txt").exists()


def test_of_a_tool_call_that_is_interrupted_all_hear_and_nobody_can_answer_it(attached):
    clients = attached()
    first, second = clients.first, clients.another()
    thread = first.start_thread(dynamicTools=TOOLS)
    first.turn(thread, "!say stored")
    resume(second, thread)
    turn = first.begin_turn(thread, CALL)
    asked = [client.wait_for("item/tool/call") for client in (first, second)]
    since = [client.mark() for client in (first, second)]
    second.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    for client, question, mark in zip((first, second), asked, since, strict=True):
        resolved = client.wait_for("serverRequest/resolved", since=mark)
        assert resolved.params["requestId"] == question.message["id"]
        order = [line.method for line in client.received(since=mark) if line.method in ENDS]
        assert order == ["item/completed", "turn/completed", "serverRequest/resolved"]
        client.respond(question.message["id"], FOUND)
    assert first.turn(thread, "!say after")[-1]["params"]["turn"]["status"] == "completed"
    assert len(first.received("item/tool/call")) == 1
