"""Interop: threads stored here are read and continued by Codex 0.169, and the other way round."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from protocol import items as wire
from protocol.command_actions import ListFilesAction, ReadAction
from protocol.file_changes import AddKind, DeleteKind, FileUpdateChange, UpdateKind
from protocol.policy import DangerFullAccess
from protocol.thread_list import ThreadListParams
from protocol.turns import TurnError
from protocol.user_input import LocalImageInput, TextInput
from rollouts import entries
from rollouts.catalog import Catalog
from rollouts.errors import WriterBusy
from rollouts.failure import append_turn_failure
from rollouts.ids import new_id
from rollouts.layout import Home
from rollouts.lines import TokenInfo, TokenUsage
from rollouts.reader import read_history
from rollouts.writer import RolloutWriter

SHARED = Path(__file__).resolve().parents[2] / "shared"
FIXTURES = Path(__file__).parent / "fixtures" / "rollouts"
LEGACY = "01a20422-0000-7000-8000-000000000001"
CONFIG = """
model = "gpt-5.5"
model_provider = "mock"
[model_providers.mock]
name = "Mock"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
requires_openai_auth = false
request_max_retries = 1
stream_max_retries = 1
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = SHARED / "protocol" / "tools" / "mock.py"
    process = subprocess.Popen([sys.executable, script, str(port), str(tmp_path_factory.mktemp("model"))])
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)  # a listening port gives no other sign
        yield port
    finally:
        process.kill()
        process.wait()


class Peer:
    def __init__(self, binary, home, port):
        (home / "config.toml").write_text(CONFIG.format(port=port))
        self._process = subprocess.Popen(
            [binary, "app-server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CODEX_HOME": str(home)},
        )
        self._id = 0
        self.pid = self._process.pid
        info = {"name": "rec", "title": "Recorder", "version": "0.0.1"}
        self.ask("initialize", clientInfo=info, capabilities={"experimentalApi": True})
        self._send({"method": "initialized"})

    def _send(self, message):
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")
        self._process.stdin.flush()

    def _until(self, wanted):
        for line in self._process.stdout:
            message = msgspec.json.decode(line)
            if wanted(message):
                return message
        raise AssertionError("the peer has ended")

    def ask(self, method, **params):
        self._id += 1
        self._send({"id": self._id, "method": method, "params": params})
        answer = self._until(lambda message: message.get("id") == self._id and "method" not in message)
        return answer["result"] if "result" in answer else answer["error"]["message"]

    def turn(self, thread_id, text):
        self.ask("turn/start", threadId=thread_id, input=[{"type": "text", "text": text}])
        return self._until(lambda message: message.get("method") == "turn/completed")["params"]["turn"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(15)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


@pytest.fixture
def start_peer(binary, model, tmp_path):
    return lambda: Peer(binary, tmp_path, model)


def all_kinds():
    times = {"started_at_ms": 1795364117000, "completed_at_ms": 1795364117005}
    changes = [
        FileUpdateChange(path="/a", kind=AddKind(), diff="x\n"),
        FileUpdateChange(path="/d", kind=DeleteKind(), diff="gone\n"),
        FileUpdateChange(
            path="/m", kind=UpdateKind(move_path="/m2"), diff="@@ -1 +1 @@\n-a\n+b\n\n\nMoved to: /m2"
        ),
    ]
    shown = [ListFilesAction(command="ls"), ReadAction(command="cat x", name="x", path="/x")]
    return [
        wire.UserMessageItem(
            id=new_id(),
            client_id="c1",
            content=[TextInput(text="hello there"), LocalImageInput(path="/a b.png")],
            **times,
        ),
        wire.ReasoningItem(id="rs_1", summary=["one", "two"], content=["raw"], **times),
        wire.AgentMessageItem(id="m_1", text="let me", phase="commentary", **times),
        wire.CommandExecutionItem(
            id="c_1",
            command="/bin/bash -lc 'echo hi; ls'",
            cwd="/a b",
            process_id="12",
            source="unifiedExecStartup",
            status="completed",
            command_actions=shown,
            aggregated_output="hi\n",
            exit_code=0,
            duration_ms=1234,
            **times,
        ),
        wire.CommandExecutionItem(
            id="c_2", command='echo "it\'s"', cwd="/a", status="declined", command_actions=[], **times
        ),
        wire.FileChangeItem(id="p_1", changes=changes, status="completed", **times),
        wire.PlanItem(id="plan", text="- a\n", **times),
        wire.WebSearchItem(
            id="ws_1", query="q", action={"type": "search", "query": "q", "queries": None}, **times
        ),
        wire.ImageViewItem(id="v_1", path="/p q.png", **times),
        wire.ContextCompactionItem(id="cc_1", **times),
        wire.AgentMessageItem(id="m_2", text="done", phase="final_answer", **times),
    ]


def write_turn(writer, items):
    turn_id = new_id()
    usage = TokenUsage(input_tokens=5, output_tokens=4, total_tokens=9)
    info = TokenInfo(total_token_usage=usage, last_token_usage=usage, model_context_window=1000)
    text = {"type": "input_text", "text": "hello there"}
    writer.append(
        [
            entries.task_started(turn_id, started_at=1795364117, context_window=1000),
            *entries.turn_settings(
                writer.thread_id,
                turn_id,
                cwd="/",
                roots=["/"],
                model="gpt-5.5",
                model_provider="mock",
                approval_policy="never",
                sandbox=DangerFullAccess(),
            ),
            entries.response_item({"type": "message", "role": "user", "content": [text]}),
            *(entries.item_completed(turn_id, item) for item in items),
            entries.response_item(
                {"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": "c_1"}
            ),
            entries.response_item({"type": "function_call_output", "call_id": "c_1", "output": "ok"}),
            entries.token_count(info),
            entries.task_complete(turn_id, started_at=1795364117, completed_at=1795364118, duration_ms=900),
        ]
    )


def write_failed_turn(writer, path):
    turn_id = new_id()
    message = wire.UserMessageItem(id=new_id(), content=[TextInput(text="dies")])
    writer.append(
        [entries.task_started(turn_id, started_at=1795364120), entries.item_completed(turn_id, message)]
    )
    writer.close()
    error = TurnError(
        message="the worker died", codex_error_info={"httpConnectionFailed": {"httpStatusCode": 401}}
    )
    assert append_turn_failure(path, turn_id, error, 1795364121)


def turns(path):
    return [msgspec.to_builtins(turn) for turn in read_history(path).turns]


def test_the_peer_reads_and_continues_what_was_written_here(start_peer, tmp_path):
    home, thread_id, now = Home(tmp_path), new_id(), time.time()
    meta = entries.new_meta(
        thread_id,
        created_at=now,
        cwd="/",
        roots=["/"],
        originator="bulkhead",
        cli_version="0.1.0",
        model_provider="mock",
        model="gpt-5.5",
        base_instructions="Be good.",
    )
    writer = RolloutWriter.create(home, meta, created_at=now)
    write_turn(writer, all_kinds())
    write_failed_turn(writer, writer.path)
    expected = turns(writer.path)
    with start_peer() as peer:
        (listed,) = peer.ask("thread/list")["data"]
        assert (listed["id"], listed["preview"], listed["model"]) == (thread_id, "hello there", "gpt-5.5")
        resumed = peer.ask("thread/resume", threadId=thread_id)
        assert resumed["thread"]["turns"] == expected
        assert (resumed["approvalPolicy"], resumed["sandbox"]) == ("never", {"type": "dangerFullAccess"})
        with pytest.raises(WriterBusy) as caught:
            RolloutWriter.resume(home, thread_id)
        assert caught.value.holder == peer.pid
        assert peer.turn(thread_id, "[[text]] go on")["status"] == "completed"
    history = read_history(writer.path)
    assert (history.gaps, history.junk, len(history.turns)) == (0, 0, 3)
    with RolloutWriter.resume(home, thread_id) as again:
        write_turn(again, all_kinds()[:3])
        with start_peer() as peer:
            busy = f"thread {thread_id} already has an active writer"
            assert peer.ask("thread/resume", threadId=thread_id) == busy
            assert peer.ask("thread/archive", threadId=thread_id) == busy
    with start_peer() as peer:
        assert peer.ask("thread/resume", threadId=thread_id)["thread"]["turns"] == turns(writer.path)


def test_the_peer_reads_and_continues_a_legacy_thread_continued_here(start_peer, tmp_path):
    home = Home(tmp_path)
    path = home.new_path(LEGACY, 1795365677)
    path.parent.mkdir(parents=True)
    path.write_bytes((FIXTURES / "legacy.jsonl").read_bytes())
    writer = RolloutWriter.resume(home, LEGACY)
    # The peer shows neither commands nor images of a legacy thread; all else it does.
    shown = [
        item for item in all_kinds() if not isinstance(item, wire.CommandExecutionItem | wire.ImageViewItem)
    ]
    write_turn(writer, shown)
    write_failed_turn(writer, path)
    with start_peer() as peer:
        assert peer.ask("thread/read", threadId=LEGACY, includeTurns=True)["thread"]["turns"] == turns(path)
        assert peer.ask("thread/resume", threadId=LEGACY)["thread"]["turns"] == turns(path)
        assert peer.turn(LEGACY, "[[text]] go on")["status"] == "completed"
    with start_peer() as peer:
        told = peer.ask("thread/read", threadId=LEGACY, includeTurns=True)["thread"]["turns"]
    assert told == turns(path)


def test_what_the_peer_stores_is_read_here(start_peer, tmp_path):
    with start_peer() as peer:
        thread_id = peer.ask("thread/start", cwd="/")["thread"]["id"]
        for text in ("[[reason]] one", "[[e400]] two", "[[websearch]] three"):
            peer.turn(thread_id, text)
        peer.ask("thread/name/set", threadId=thread_id, name="named by the peer")
        ids = [
            turn["id"]
            for turn in peer.ask("thread/read", threadId=thread_id, includeTurns=True)["thread"]["turns"]
        ]
        peer.ask("thread/revert", threadId=thread_id, beforeTurnId=ids[2])
        peer.turn(thread_id, "[[text]] instead")
        fork = peer.ask("thread/fork", threadId=thread_id)["thread"]["id"]
        peer.turn(fork, "[[text]] in the fork")
        told = {
            known: peer.ask("thread/read", threadId=known, includeTurns=True)["thread"]
            for known in (thread_id, fork)
        }
    same = (
        "id",
        "path",
        "preview",
        "name",
        "model",
        "cwd",
        "historyMode",
        "forkedFromId",
        "source",
        "sessionId",
    )
    with closing(Catalog(tmp_path)) as catalog:
        answer = catalog.list(ThreadListParams())
        for known, theirs in told.items():
            ours = msgspec.to_builtins(catalog.read(known, include_turns=True))
            assert ours["turns"] == theirs["turns"]
            assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert {thread.id for thread in answer.data} == {thread_id, fork}
    with start_peer() as peer:  # the peer's archive and ours are one
        assert peer.ask("thread/archive", threadId=fork) == {}
    with closing(Catalog(tmp_path)) as again:
        assert again.unarchive(fork).id == fork
