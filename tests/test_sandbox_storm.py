"""A command that does its worst, beside a thread that works on."""

from __future__ import annotations

import sys

import pytest
from protocol_client import LATER
from running_server import await_ends

FORKS, LINGERING, MEMORY_MIB = 10_000, 150, 128
STORM = f"""
import os, signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
eaten = bytearray({MEMORY_MIB} << 20)
for at in range(0, len(eaten), 4096):
    eaten[at] = 1
for _ in range({LINGERING}):
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                signal.pause()
        os._exit(0)
    os.waitpid(child, 0)
if os.fork() == 0:
    flood = b"flood " * 10_000
    while True:
        os.write(1, flood)
for _ in range({FORKS}):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
while True:
    signal.pause()
"""
"""Lingering daemons first, so that the first output says they are there."""


@pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox")
def test_a_storm_is_ended_by_an_interrupt_and_disturbs_nobody(server, marked, workspace):
    (workspace / "storm.py").write_text(STORM)
    client = server(handler=lambda _method, _params: LATER)
    stormy = client.start_thread(sandbox="workspace-write")
    quiet = client.start_thread(sandbox="workspace-write")
    client.turn(stormy, "!say ready")
    client.turn(quiet, "!run true\n!then\n!say ready")
    # It hangs then: on a slow machine the storm outlives the call, and the turn has to be there still.
    turn = client.begin_turn(stormy, f"!run exec {sys.executable} -I -S storm.py\n!then\n!hang")
    client.wait_for("item/commandExecution/outputDelta")
    for _ in range(5):
        told = client.turn(quiet, "!run echo calm\n!then\n!say done")
        assert told[-1]["params"]["turn"]["status"] == "completed"
    storm = {pid for pid in marked.processes() if b"storm.py" in _command_line(pid)}
    assert len(storm) > LINGERING
    client.request("turn/interrupt", {"threadId": stormy, "turnId": turn})
    assert client.end_of(turn)["status"] == "interrupted"
    await_ends(storm)
    assert not [pid for pid in marked.processes() if b"storm.py" in _command_line(pid)]
    assert client.turn(stormy, "!run echo after\n!then\n!say done")


def _command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""
