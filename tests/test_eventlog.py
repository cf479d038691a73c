"""The event log of a worker on a disk that is full."""

from __future__ import annotations

import os
import resource
import signal

import pytest

from protocol.link import Record, pack_record, records
from workers.eventlog import EventLog

ROOM = 1000
"""Bytes that a file may have in the child process below."""


def test_a_piece_that_does_not_fit_leaves_nothing_behind(tmp_path):
    path = tmp_path / "log"
    child = os.fork()
    if not child:
        try:
            _fill(str(path))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    said = list(records(path.read_bytes()))
    assert [(kind, key, bytes(body)) for kind, key, body, _ in said] == [
        (Record.EVENTS, 0, b"x" * 600),
        (Record.EVENTS, 0, b"short"),
    ]


def _fill(path: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))
    log = EventLog(path)
    log.append(pack_record(Record.EVENTS, 0, b"x" * 600))
    with pytest.raises(OSError, match="File too large"):
        log.append(pack_record(Record.EVENTS, 0, b"y" * 600))
    log.append(pack_record(Record.EVENTS, 0, b"short"))
    os._exit(0)
