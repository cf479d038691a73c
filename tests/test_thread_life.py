"""Any short life of a thread, as hypothesis thinks it up: whatever is done to it in whatever order, all promises hold."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run
from protocol_client import RpcError
from turn_ledger import TurnLedger, words

from supervisor.states import State

SWITCHES = (
    *("-c", "bulkhead.restart_limit=2"),
    *("-c", "bulkhead.restart_backoff_cap_ms=50"),
    *("-c", "bulkhead.hibernate_after_s=0.1"),
)
WORDS = 30
EXAMPLES, STEPS = 6, 12


class ThreadLife(RuleBasedStateMachine):
    """One thread of a server that others have used before."""

    def __init__(self, client, ledger):
        super().__init__()
        self.client = client
        self.ledger = ledger
        self.turn = None
        """The last turn; it may have ended."""
        self.turns = 0

    @initialize()
    def start(self):
        self.thread = self.client.start_thread()

    def quarantined(self):
        return self.client.row(self.thread)["state"] == "quarantined"

    def operate(self, operation):
        with suppress(Exception):  # it may have no worker just now
            self.client.operate(operation, thread=self.thread)

    @rule(text=st.sampled_from([f"!stream {WORDS} 0.005", f"!run true\n!then\n!stream {WORDS}"]))
    def begin(self, text):
        self.end()
        try:
            self.turn = self.client.begin_turn(self.thread, text)
        except RpcError as refusal:
            assert "quarantined" in refusal.message  # noqa: PT017
            self.turn = None
        else:
            self.turns += 1
            self.ledger.expect(self.turn, words(WORDS))

    @rule(number=st.sampled_from([signal.SIGKILL, signal.SIGSEGV]))
    def crash(self, number):
        pid = self.client.row(self.thread)["pid"]
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    @rule()
    def kill(self):
        self.operate("kill")

    @rule()
    def restart(self):
        self.operate("restart")
        assert not self.quarantined()

    @rule()
    def pause_and_resume(self):
        self.operate("pause")
        self.operate("resume")
        assert not self.client.row(self.thread)["paused"]

    @precondition(lambda self: self.turns)
    @rule()
    def fall_asleep(self):
        self.end()
        self.client.await_row(self.thread, lambda row: row["state"] in ("hibernated", "quarantined"))

    @rule()
    def interrupt(self):
        if self.turn is not None:
            with suppress(RpcError):  # it is over, or its thread is quarantined
                self.client.request("turn/interrupt", {"threadId": self.thread, "turnId": self.turn})

    @rule()
    def end(self):
        if self.turn is not None:
            self.client.end_of(self.turn)
            self.turn = None

    @invariant()
    def it_is_loaded_and_in_a_state(self):
        row = self.client.row(self.thread)
        assert row["state"] in set(State)
        assert (row["pid"] is None) == (row["state"] in ("starting", "dead", "hibernated", "quarantined"))

    def teardown(self):
        self.end()
        self.operate("restart")
        if self.turns:
            read = self.client.request("thread/read", {"threadId": self.thread, "includeTurns": True})
            assert len(read["thread"]["turns"]) == self.turns
            assert "inProgress" not in {turn["status"] for turn in read["thread"]["turns"]}


def test_whatever_is_done_to_a_thread_its_turns_end_once_and_are_stored(server):
    client, ledger = server(*SWITCHES), TurnLedger()
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run(lambda: ThreadLife(client, ledger), settings=chosen)
    for line in list(client.lines):
        ledger.take(line)
    ledger.settle()
