"""The end of a worker is told, whatever state it left its files in."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from running_server import await_ends

UNREADABLE_BYTES = 1 << 42
"""More than any memory: a sparse file that no process can read in one go."""


def test_a_turn_ends_and_the_thread_goes_on_though_the_event_log_cannot_be_read(server):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, "!run sleep 1000")
    client.wait_for("item/started", since=0)
    [log] = (Path(client.record.directory) / "events").glob(f"{thread}.*")
    worker = client.worker(thread)

    def die():
        os.kill(worker, signal.SIGSTOP)  # so that it does not write behind the hole
        os.truncate(log, UNREADABLE_BYTES)
        os.kill(worker, signal.SIGKILL)

    await_ends([worker], ended=die)
    assert client.end_of(turn)["status"] == "failed"
    assert client.turn(thread, "!say back")[-1]["params"]["turn"]["status"] == "completed"
