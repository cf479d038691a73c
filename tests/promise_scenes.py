"""What the tests of the supervisor's promises share: quick limits, long turns, waits."""

from __future__ import annotations

from turn_ledger import TurnLedger

MANY_DEATHS = ("-c", "bulkhead.restart_limit=1000")

STEADY = 400

STEADY_SCRIPT = f"!stream {STEADY} 0.004"
"""A stream that lasts about 2 s: long enough for whatever is done to others meanwhile."""


def ledger_of(client):
    ledger = TurnLedger()
    for line in list(client.lines):
        ledger.take(line)
    return ledger
