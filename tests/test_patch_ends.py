"""A patch whose program, worker or server is killed in its midst: through the server, all files or none."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest
from running_server import await_state, children

FILES = 400
"""Enough that it takes a while, and a kill comes in its midst."""
TRIES = 20
"""So many that a busy machine, on which we may come too late, does not come between all of them."""
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
def thread_of():
    def begin(client, **params):
        return client.start_thread(sandbox="workspace-write", **params)

    return begin


def lay(workspace: Path) -> None:
    for path in workspace.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (workspace / "first.txt").write_text("old\n")
    (workspace / "last.txt").write_text("kept\n")


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


def halted_patch(client, thread: str, workspace: Path) -> tuple[str, int]:
    """(turn, program): a patch that has changed some of its files and will change no more, as its program is stopped."""
    worker = client.worker(thread)
    for _ in range(TRIES):
        lay(workspace)
        turn = client.begin_turn(thread, LONG)
        while not (workspace / "many").is_dir():
            pass
        # A process that is gone has no children to be read of it, and cannot be stopped.
        with contextlib.suppress(OSError, IndexError):
            program = innermost(children(worker)[0])
            os.kill(program, signal.SIGSTOP)
            await_state(program, "TZ")
            # Without a number it is the mark, whose removal is the moment at which the patch is applied.
            if any(path.name.count("-") == 1 for path in workspace.glob(".patch-*")):
                return turn, program
            os.kill(program, signal.SIGCONT)
        # It was faster than we.
        client.end_of(turn)
    raise AssertionError(f"{TRIES} patches of {FILES} files were all applied before they could be stopped")


def innermost(pid: int) -> int:
    """The patch program among a worker's descendants, inside of what encloses it. Raises OSError if it is gone."""
    while below := children(pid):
        pid = below[0]
    return pid


def journal(marked, thread: str) -> Path:
    return Path(marked.env["BULKHEAD_HOME"]) / "bulkhead" / "patches" / thread


def test_a_patch_whose_program_is_killed_changes_no_file_and_says_so(
    server, model, marked, workspace, thread_of
):
    client = server()
    thread = thread_of(client)
    turn, program = halted_patch(client, thread, workspace)
    os.kill(program, signal.SIGKILL)
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
    turn, _ = halted_patch(client, thread, workspace)
    os.kill(worker, signal.SIGKILL)
    assert client.end_of(turn)["status"] == "failed"
    client.turn(thread, "!say there")
    assert untouched(workspace)
    assert not journal(marked, thread).exists()


def test_the_next_server_puts_back_what_a_killed_one_had_half_done(server, marked, workspace, thread_of):
    client = server()
    thread = thread_of(client)
    halted_patch(client, thread, workspace)
    client.kill_all_but_commands()
    assert journal(marked, thread).exists()
    later = server()
    later.request("thread/resume", {"threadId": thread})
    later.turn(thread, "!say there")
    assert untouched(workspace)
    assert not journal(marked, thread).exists()
