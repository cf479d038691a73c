"""Many threads work while their workers are killed, crashed and stopped at random: all promises at once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading

from turn_ledger import TurnLedger, words

THREADS = 20
TURNS_EACH = 4
"""At least; each thread begins another turn as long as there are strikes to come."""
STRIKES = 40
SEED = 20261122
PAUSE_S = 0.08
"""Between two strikes: an incarnation lives for about a second, a turn takes as long, so about half of them end well."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)
SWITCHES = (
    *("-c", "bulkhead.hang_silence_ms=300"),
    *("-c", "bulkhead.hang_grace_ms=300"),
    *("-c", "bulkhead.restart_limit=100000"),  # nobody is to be quarantined here
    *("-c", "bulkhead.restart_backoff_cap_ms=100"),  # nor to wait long for the next worker
)
REASONS = ("SIGKILL", "SIGSEGV", "hung")


class Killer:
    """Strikes random workers, as often as it is told or until it is stopped."""

    def __init__(self, client):
        self.strikes = 0
        self._client = client
        self._random = random.Random(SEED)
        self.done = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def _run(self):
        while self.strikes < STRIKES and not self._stopped.wait(self._random.uniform(0, 2 * PAUSE_S)):
            pids = [row["pid"] for row in self._client.operate("ps")["threads"] if row["pid"]]
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._random.choice(pids), self._random.choice(SIGNALS))
                    self.strikes += 1
        self.done = True


def script(kind, mark):
    """A turn that leaves `mark` in ran.txt once, or a file by a patch; and what it says in the end."""
    if kind == "stream":
        return "!stream 120 0.004", words(120)
    if kind == "command":
        return f"!run echo {mark} >> ran.txt; sleep 0.1\n!then\n!stream 40 0.004", words(40)
    return (
        f"!stream 30 0.004\n!patch\n*** Begin Patch\n*** Add File: {mark}.txt\n+{mark}\n*** End Patch\n!then\n!say Patched.",
        words(30) + "Patched.",
    )


def test_every_accepted_turn_ends_once_and_no_event_is_lost_or_doubled(server, workspace):
    client = server(*SWITCHES, timeout=60)
    choose = random.Random(SEED)
    threads = [client.start_thread() for _ in range(THREADS)]
    begun = dict.fromkeys(threads, 0)
    ledger = TurnLedger()
    says, marks, asked = {}, {}, {}

    def begin(thread):
        begun[thread] += 1
        kind = choose.choice(("stream", "command", "patch"))
        mark = f"{kind}-{thread}-{begun[thread]}"
        text, said = script(kind, mark)
        request = client.send_turn(thread, text)
        says[request], asked[request] = said, mark

    with Killer(client) as killer:
        for thread in threads:
            begin(thread)
        ended = 0
        for line in client.each():
            ledger.take(line)
            message = line.message
            if not line.sent and message.get("id") in says:
                turn = message["result"]["turn"]["id"]
                ledger.expect(turn, says[message["id"]])
                marks[turn] = asked[message["id"]]
            elif line.method == "turn/completed" and not line.sent:
                ended += 1
                thread = message["params"]["threadId"]
                if begun[thread] < TURNS_EACH or not killer.done:
                    begin(thread)
                elif ended == sum(begun.values()):
                    break
    ledger.settle()
    for row in client.operate("ps")["threads"]:
        if row["pid"]:  # who was stopped while idle was left alone, and would hold up the end of the server
            os.kill(row["pid"], signal.SIGCONT)

    statuses = ledger.statuses()
    assert sum(statuses.values()) == sum(begun.values()) >= THREADS * TURNS_EACH
    assert set(statuses) == {"completed", "failed"}, statuses
    assert killer.strikes == STRIKES
    assert min(statuses.values()) > THREADS // 2, statuses
    for turn in ledger.ended("failed"):
        assert any(reason in turn.error for reason in REASONS), turn.error
    file = workspace / "ran.txt"
    ran = file.read_text().split() if file.exists() else []
    assert len(set(ran)) == len(ran), "a command ran twice"
    for turn in ledger.ended("completed"):
        mark = marks[turn.id]
        if mark.startswith("command"):
            assert mark in ran
        elif mark.startswith("patch"):
            assert (workspace / f"{mark}.txt").read_text() == mark + "\n"
