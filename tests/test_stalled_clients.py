"""A client that stays away is let go; its threads go on for who is still there."""

from __future__ import annotations

import os
import signal

import pytest
from test_attached_clients import attached, resume  # noqa: F401 - the fixture
from turn_ledger import TurnLedger, words

COUNT = 20_000


@pytest.mark.parametrize("patience", ["0.5", "0"])
def test_who_takes_nothing_is_let_go_and_the_others_hear_everything(attached, patience):  # noqa: F811
    clients = attached("-c", f"bulkhead.client_stall_s={patience}")
    first = clients.first
    thread = first.start_thread()
    first.turn(thread, "!say one two three")
    away = clients.another()
    resume(away, thread)
    os.kill(away.pid, signal.SIGSTOP)
    try:
        turn = first.begin_turn(thread, f"!stream {COUNT}")
        if patience == "0":
            other = first.start_thread()
            first.turn(other, "!stream 500 0.002")
            assert not first.ends_of(turn)  # it waits for the one that is away
        else:
            assert first.end_of(turn)["status"] == "completed"
            journal = first.operate("metrics")["text"]
            assert "bulkhead_stalled_clients_total 1" in journal
    finally:
        os.kill(away.pid, signal.SIGCONT)
    assert first.end_of(turn)["status"] == "completed"
    ledger = TurnLedger()
    ledger.expect(turn, words(COUNT))
    for line in list(first.lines):
        ledger.take(line)
    ledger.settle()
