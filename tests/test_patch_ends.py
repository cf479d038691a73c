"""A patch whose program, worker or server is killed in its midst: through the server, all files or none."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from running_server import children, command_line

FILES = 400
"""Enough that it takes a while, and a kill comes in its midst."""
LONG = "\n".join(
    [
        "!patch",
        "*** Begin Patch",
        "*** Update File: first.txt",
        "@@",
        "-old",
        "+new",
        *(line for number in range(FILES) for line in (f"*** Add File: many/{number}.txt", "+text")),
        "*** Delete File: last.txt",
        "*** End Patch",
        "!then",
        "!say Patched.",
    ]
)


@pytest.fixture
def thread_of(server, workspace):
    (workspace / "first.txt").write_text("old\n")
    (workspace / "last.txt").write_text("kept\n")

    def begin(client, **params):
        return client.start_thread(sandbox="workspace-write", **params)

    return begin


def files(workspace: Path) -> set[str]:
    return {str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file()}


def untouched(workspace: Path) -> bool:
    assert not list(workspace.rglob(".patch-*"))
    found = files(workspace)
    if found == {"first.txt", "last.txt"}:
        assert (workspace / "first.txt").read_text() == "old\n"
        assert not (workspace / "many").exists()
        return True
    assert found == {"first.txt", *(f"many/{number}.txt" for number in range(FILES))}
    assert (workspace / "first.txt").read_text() == "new\n"
    return False


def patch_under_way(workspace: Path) -> None:
    """Returns when some of the files are in their places."""
    while not (workspace / "many").is_dir():
        pass


def program(pid: int) -> int:
    """The patch program among a worker's descendants: the innermost process."""
    below = [child for child in children(pid) if b"bwrap" in command_line(child)]
    while below:
        pid = below[0]
        below = children(pid)
    return pid


def journal(marked, thread: str) -> Path:
    return Path(marked.env["BULKHEAD_HOME"]) / "bulkhead" / "patches" / thread


def test_a_patch_whose_program_is_killed_changes_no_file_and_says_so(
    server, model, marked, workspace, thread_of
):
    client = server()
    thread = thread_of(client)
    worker = client.worker(thread)
    turn = client.begin_turn(thread, LONG)
    patch_under_way(workspace)
    os.kill(program(worker), signal.SIGKILL)
    assert client.end_of(turn)["status"] == "completed"
    assert untouched(workspace)
    told = model.requests()[-1].body["input"][-1]["output"]
    assert "The program that applies the patch was ended. No file was changed." in told
    assert not journal(marked, thread).exists()
    client.turn(thread, LONG)
    assert not untouched(workspace)


def test_the_next_worker_puts_back_what_a_killed_one_had_half_done(server, marked, workspace, thread_of):
    client = server()
    thread = thread_of(client)
    worker = client.worker(thread)
    turn = client.begin_turn(thread, LONG)
    patch_under_way(workspace)
    os.kill(worker, signal.SIGKILL)
    assert client.end_of(turn)["status"] == "failed"
    client.turn(thread, "!say there")
    assert untouched(workspace)
    assert not journal(marked, thread).exists()


def test_the_next_server_puts_back_what_a_killed_one_had_half_done(server, marked, workspace, thread_of):
    client = server()
    thread = thread_of(client)
    client.begin_turn(thread, LONG)
    patch_under_way(workspace)
    client.kill_all_but_commands()
    assert journal(marked, thread).exists()
    later = server()
    later.request("thread/resume", {"threadId": thread})
    later.turn(thread, "!say there")
    assert untouched(workspace)
    assert not journal(marked, thread).exists()
