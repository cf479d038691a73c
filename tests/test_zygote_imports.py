"""A worker never imports anything, and looks at no type for the first time: the zygote did all that before the fork."""

from __future__ import annotations

import base64
import json
import os

import pytest

OBSERVER = """
import os, sys, types
import msgspec._utils

inherited = set()
examined = []
leave = os._exit
examine = msgspec._utils.get_class_annotations
examine.__globals__["_examine"] = types.FunctionType(examine.__code__, examine.__globals__, "examine")
examine.__globals__["_examined"] = examined
examine.__code__ = (lambda obj: (_examined.append(obj.__name__), _examine(obj))[1]).__code__

def forked():
    inherited.update(sys.modules)
    examined.clear()

def tell_and_leave(code):
    with open(os.path.join(os.environ["BULKHEAD_TEST_IMPORTS"], str(os.getpid())), "w") as file:
        print(*sorted(set(sys.modules) - inherited), file=file)
        print(*examined, file=file)
    leave(code)

os.register_at_fork(after_in_child=forked)
os._exit = tell_and_leave
"""
"""Python imports `sitecustomize` by itself at its start. A worker ends by `os._exit`."""

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

TURNS = {
    "text": "!think **Hm** let me think\n!comment working on it\n!say hello",
    "a command": "!run echo hello; sleep 0.2; echo again\n!then\n!say done",
    "a terminal": '!start cat\n!then\n!stdin last hello\n!then\n!stdin last "\\u0004"\n!then\n!say done',
    "a patch": "!patch\n*** Begin Patch\n*** Add File: a.txt\n+a\n*** End Patch\n!then\n!say done",
    "a refused patch": "!patch\n*** Begin Patch\n*** Update File: none.txt\n@@\n-a\n+b\n*** End Patch\n!then\n!say done",
    "a picture": "!view pixel.png\n!then\n!say done",
    "a plan": "!plan [>] one; [ ] two\n!then\n!say done",
    "an unknown tool": "!tool nobody_knows {}\n!then\n!say done",
    "a broken stream": "!cut-once\n!say done",
    "a refused request": '!status 500 {"error":{"message":"out of order"}}',
    "a failure of the model": "!fail server_error out of order",
    "no text": "héllo ünïcode 🙂",
}
FAILING = ["a refused request", "a failure of the model"]


@pytest.fixture
def imports(marked, tmp_path):
    """Where workers tell what they imported: a file each, by pid."""
    folder = tmp_path / "imports"
    folder.mkdir()
    observer = tmp_path / "observer"
    observer.mkdir()
    (observer / "sitecustomize.py").write_text(OBSERVER)
    marked.env["PYTHONPATH"] = os.pathsep.join([str(observer), marked.env["PYTHONPATH"]])
    marked.env["BULKHEAD_TEST_IMPORTS"] = str(folder)
    return folder


@pytest.mark.parametrize("sandbox", ["danger-full-access", "workspace-write"])
def test_a_worker_has_no_module_that_the_zygote_lacks(server, imports, home, workspace, sandbox):
    config = home / "config.toml"
    config.write_text(
        config.read_text().replace("stream_max_retries = 0", "stream_max_retries = 1")
        + "[tools.update_plan]\nenabled = true\n"
    )
    (workspace / "pixel.png").write_bytes(PIXEL)
    (workspace / "AGENTS.md").write_text("Be brief.")
    client = server()
    thread = client.start_thread(sandbox=sandbox)
    ends = {what: client.turn(thread, text)[-1]["params"]["turn"]["status"] for what, text in TURNS.items()}
    assert [what for what, status in ends.items() if status != "completed"] == FAILING
    interrupted = client.begin_turn(thread, "!run sleep 1000")
    client.request("turn/interrupt", {"threadId": thread, "turnId": interrupted})
    client.request("thread/read", {"threadId": thread, "includeTurns": True})
    client.request("thread/resume", {"threadId": thread})
    first = client.worker(thread)
    client.operate("restart", thread=thread)
    client.turn(thread, TURNS["text"])
    second = client.worker(thread)
    assert client.close() == 0
    told = {pid: (imports / str(pid)).read_text().split("\n")[0] for pid in (first, second)}
    assert told == {first: "", second: ""}, json.dumps(told)


def test_a_worker_of_a_thread_with_a_history_looks_at_no_type_for_the_first_time(server, imports):
    client = server()
    thread = client.start_thread(sandbox="danger-full-access")
    for name in ("text", "a command"):
        client.turn(thread, TURNS[name])
    client.operate("restart", thread=thread)
    for name in ("text", "a command"):
        client.turn(thread, TURNS[name])
    worker = client.worker(thread)
    assert client.close() == 0
    assert (imports / str(worker)).read_text().split("\n")[1] == ""
