"""`bulkhead top [--interval S] [--count N]`: the busiest threads first, again and again. It asks `ps`, nothing else."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import time
from typing import Any

from supervisor.commands import amounts, target
from supervisor.commands.ps import age
from supervisor.commands.table import cut, table

INTERVAL_S = 2.0
CLEAR = "\x1b[H\x1b[2J"
HEAD = ("THREAD", "STATE", "PID", "CPU%", "MEM", "TURN", "RESTARTS", "NAME", "WHY")


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=False)
    parser.add_argument("--interval", type=amounts.pause, default=INTERVAL_S, metavar="S", help="seconds (2)")
    parser.add_argument("--count", type=amounts.count, metavar="N", help="end after so many pictures")


def run(options: argparse.Namespace) -> int:
    before: dict[tuple[str, int], tuple[float, float]] = {}
    for number in itertools.count(1):
        answers, code = target.ask_all(target.servers(options.server))
        now = time.monotonic()
        rows = [row for answer in answers for row in answer["threads"]]
        seen = {}
        for row in rows:
            row["cpuPercent"] = None
            if row["pid"] and row["cpuSeconds"] is not None:
                key = (row["thread"], row["pid"])
                seen[key] = (now, row["cpuSeconds"])
                if key in before and now > before[key][0]:
                    spent, passed = row["cpuSeconds"] - before[key][1], now - before[key][0]
                    row["cpuPercent"] = round(100 * spent / passed, 1)
        before = seen
        rows.sort(key=lambda row: (row["cpuPercent"] or 0, row["memoryBytes"] or 0), reverse=True)
        if options.json:
            print(json.dumps(rows), flush=True)
        else:
            _draw(rows, sum(answer["parked"] for answer in answers), len(answers))
        if number == options.count:
            break
        time.sleep(options.interval)
    return code


def _draw(rows: list[dict[str, Any]], parked: int, servers: int) -> None:
    states: dict[str, int] = {}
    for row in rows:
        states[row["state"]] = states.get(row["state"], 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none loaded"
    memory = sum(row["memoryBytes"] or 0 for row in rows)
    head = f"{servers} server{'' if servers == 1 else 's'}, {len(rows)} threads ({told}), {parked} parked"
    lines = [f"{head}, {memory / 2**20:.0f}M in workers", "", *table([HEAD, *map(_cells, rows)])]
    if sys.stdout.isatty():
        size = shutil.get_terminal_size()
        print(CLEAR + "\n".join(cut(line, size.columns) for line in lines[: size.lines - 1]), flush=True)
    else:
        print("\n".join(lines), flush=True)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["thread"],
        row["state"],
        str(row["pid"] or "-"),
        "-" if row["cpuPercent"] is None else f"{row['cpuPercent']:.0f}",
        "-" if row["memoryBytes"] is None else f"{row['memoryBytes'] / 2**20:.1f}M",
        "-" if row["turn"] is None else age(row["turnSeconds"]),
        str(row["restarts"]),
        row["name"] or "",
        row["why"] or "",
    )
