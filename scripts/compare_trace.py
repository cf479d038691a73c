#!/usr/bin/env python3
"""Replays recordings of an app server against another one and compares what comes back.

    compare_trace.py --server "CMD app-server" [--peer-tools DIR] TRACE...
    compare_trace.py --server "CMD app-server" --chain A B        (B continues in A's home)

A recording is a .jsonl file of {"t", "dir": "c2s|s2c|meta|stderr", "msg" | "raw"} lines. Compared are methods and their
order, field names and JSON types at every depth, values that name a case, and error codes; ids, times, texts, paths and
versions are not. Known differences, each with its reason, stand in trace_exceptions.toml beside this script. Exit code 1
tells of unexplained differences, 2 of wrong arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from private_keyring import missing_program
from trace_exceptions import (
    Exceptions,
    Intended,
    Setup,
    Unserved,
    excuse,
    load_exceptions,
    matches,
    without_unsaid,
    without_unserved,
)
from trace_line import Difference, load_trace
from trace_order import compare
from trace_replay import Replay, Server
from trace_surroundings import Surroundings, cleared

STDERR_TAIL = 20  # lines of the server's log shown with differences


class Outcome(msgspec.Struct):
    """Of one recording: `explained` pairs a difference with the reason of its exception."""

    trace: str
    differences: list[Difference] = []
    explained: list[tuple[Difference, str]] = []
    skipped: str = ""
    log: str = ""


class Comparison:
    """All recordings against one server; remembers which exceptions were of use."""

    def __init__(
        self, server: Sequence[str], exceptions: Exceptions, tools: Path | None, patience: float
    ) -> None:
        self._server = server
        self._exceptions = exceptions
        self._tools = tools
        self._patience = patience
        self._used: set[int] = set()
        self._ran: set[str] = set()

    def chain(self, traces: Sequence[Path]) -> list[Outcome]:
        """Replays the recordings one after the other in one home."""
        skipped = [
            Outcome(trace.stem, skipped=self._skip(trace.stem)) for trace in traces if self._skip(trace.stem)
        ]
        if skipped:
            return skipped
        with contextlib.closing(
            Surroundings(self._tools or traces[0].parent.parent / "tools")
        ) as surroundings:
            return [self._replay(trace, surroundings) for trace in traces]

    def required(self, trace: Path) -> list[Path]:
        """The recordings whose home this one continues, itself last."""
        earlier = [name for setup in self._setups(trace.stem) for name in setup.after]
        return [*(trace.with_name(f"{name}.jsonl") for name in earlier), trace]

    def unused(self) -> list[str]:
        """Exceptions for recordings that ran, none of which needed them."""
        regular = [entry for entry in self._exceptions.difference if not entry.sometimes]
        entries: list[Intended | Unserved] = [*regular, *self._exceptions.unserved]
        return [
            str(entry)
            for entry in entries
            if id(entry) not in self._used and any(matches(entry.trace, name) for name in self._ran)
        ]

    def _setups(self, trace: str) -> list[Setup]:
        return [setup for setup in self._exceptions.setup if matches(setup.trace, trace)]

    def _skip(self, trace: str) -> str:
        setups = self._setups(trace)
        if any(setup.keyring for setup in setups) and (missing := missing_program()):
            return missing
        return next((setup.skip for setup in setups if setup.skip), "")

    def _replay(self, trace: Path, surroundings: Surroundings) -> Outcome:
        name = trace.stem
        self._ran.add(name)
        setups = self._setups(name)
        env = surroundings.prepare(setups, trace.parent)
        recorded = load_trace(trace)
        unserved = [entry for entry in self._exceptions.unserved if matches(entry.trace, name)]
        unsaid = [entry for entry in self._exceptions.unsaid if matches(entry.trace, name)]
        kept = without_unsaid(without_unserved(recorded, unserved), unsaid)
        asked = {
            line.message.get("method")
            for line in recorded
            if line.direction == "c2s" and isinstance(line.message, dict)
        }
        self._used |= {id(entry) for entry in unserved if entry.method in asked}
        with cleared([Path(path) for setup in setups for path in setup.leaves]):
            server = Server(self._server, surroundings.project, env, surroundings.log)
            replay = Replay(kept, server, surroundings.names, self._patience)
            replay.run()
        outcome = Outcome(name)
        for difference in [*replay.problems, *compare(kept, replay.live)]:
            excuses = [entry for entry in self._exceptions.difference if excuse(entry, name, difference)]
            self._used |= {id(entry) for entry in excuses}
            if excuses:
                outcome.explained.append((difference, excuses[0].reason))
            else:
                outcome.differences.append(difference)
        if outcome.differences:
            lines = surroundings.log.read_text(errors="replace").splitlines()
            outcome.log = "\n".join(lines[-STDERR_TAIL:])
        return outcome


def _print(outcome: Outcome, *, verbose: bool) -> None:
    if outcome.skipped:
        print(f"{outcome.trace}: skipped: {outcome.skipped}")
        return
    explained = f" ({len(outcome.explained)} explained)" if outcome.explained else ""
    if not outcome.differences:
        print(f"{outcome.trace}: OK{explained}")
    else:
        print(f"{outcome.trace}: {len(outcome.differences)} differences{explained}")
    for difference in outcome.differences:
        print(f"  {_sentence(difference)}")
    if verbose:
        for difference, reason in outcome.explained:
            print(f"  explained: {_sentence(difference)}\n    because: {reason}")
        if outcome.log:
            print("  stderr:\n    " + outcome.log.replace("\n", "\n    "))


def _sentence(difference: Difference) -> str:
    path = f" {difference.path}" if difference.path else ""
    return f"{difference.where}:{path} [{difference.kind}] recorded {difference.recorded}; live {difference.live}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--server", required=True, help="command line of the app server, e.g. 'bulkhead app-server'"
    )
    parser.add_argument(
        "--peer-tools", type=Path, help="folder of mock.py; default: ../tools of the recordings"
    )
    parser.add_argument("--chain", nargs="+", type=Path, action="append", default=[], metavar="TRACE")
    parser.add_argument("--exceptions", type=Path, default=Path(__file__).with_name("trace_exceptions.toml"))
    parser.add_argument(
        "--patience", type=float, default=10.0, help="seconds to wait for an expected message"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--verbose", action="store_true", help="also print explained differences and stderr")
    parser.add_argument("traces", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    if not options.traces and not options.chain:
        parser.error("no recordings given")
    try:
        exceptions = load_exceptions(options.exceptions)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    comparison = Comparison(shlex.split(options.server), exceptions, options.peer_tools, options.patience)
    chains = [*options.chain, *(comparison.required(trace) for trace in options.traces)]
    outcomes: list[Outcome] = []
    for chain in chains:
        for outcome in comparison.chain(chain):
            outcomes.append(outcome)
            if not options.json:
                _print(outcome, verbose=options.verbose)
    unused = comparison.unused()
    if options.json:
        print(json.dumps({"traces": msgspec.to_builtins(outcomes), "unused_exceptions": unused}, indent=1))
    else:
        for entry in unused:
            print(f"unused exception: {entry}")
    return 1 if any(outcome.differences for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
