#!/usr/bin/env python3
"""A command that does its worst, and how long the turns of another thread take meanwhile.

    scripts/storm.py [--turns 150] [--sandbox workspace-write]

The storm eats memory, floods its output, ignores signals, leaves daemons in sessions of their own and forks 10,000
times, over and over, from four processes at once. Another thread takes turns that say something and turns that run a command: first alone, then
beside the storm. Then the storm is interrupted, and what is left of it is counted. Ends with 1 if a p99 more than
doubles, the storm's worker takes more than its budget, or anything is left. All of it ends by itself after three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stress_server import StressServer, percentile, resident_mib

STORM = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
end = time.monotonic() + 180
eaten = bytearray(256 << 20)
for at in range(0, len(eaten), 4096):
    eaten[at] = 1
for _ in range(150):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(180)
        os._exit(0)
    os.wait()
if os.fork() == 0:
    flood = b"flood " * 10_000
    while time.monotonic() < end:
        os.write(1, flood)
for _ in range(2):
    os.fork()
while time.monotonic() < end:
    for _ in range(10_000):
        if os.fork() == 0:
            os._exit(0)
        with_children = os.waitpid(-1, os.WNOHANG)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
"""
KINDS: dict[str, str] = {"text": "!stream 20 0.001", "command": "!run true\\n!then\\n!say done"}
WORKER_MIB = 50
"""Budget of the worker whose command floods it."""
FACTOR = 2.0
SAMPLE_S = 0.2


def storming() -> set[int]:
    """Processes that play the storm, wherever they are."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"bulkhead-storm" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
    return found


async def measure(server: StressServer, thread: str, turns: int) -> dict[str, list[float]]:
    """Seconds of each turn, by kind; the kinds take turns."""
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(turns):
        for kind, script in KINDS.items():
            turn = server.begin(thread, script.replace("\\n", "\n"))
            if await turn.ended != "completed":
                raise SystemExit(f"a turn of the quiet thread ended as {turn.status}: {turn.error}")
            seconds[kind].append(turn.ended_at - turn.asked_at)
    return seconds


async def peak_of(pid: int) -> float:
    """The most MiB that a process had; cancel it to hear."""
    most = 0.0
    with contextlib.suppress(asyncio.CancelledError, OSError):
        while True:
            most = max(most, resident_mib(pid))
            await asyncio.sleep(SAMPLE_S)
    return most


async def storm(options: argparse.Namespace) -> int:
    async with StressServer() as server:
        (server.workspace / "bulkhead-storm.py").write_text(STORM)
        quiet, stormy = [await start(server, options.sandbox) for _ in range(2)]
        for thread in (quiet, stormy):
            await server.begin(thread, "!run true\n!then\n!say ready").ended
        alone = await measure(server, quiet, options.turns)
        turn = server.begin(stormy, f"!run exec {sys.executable} -I -S bulkhead-storm.py\n!then\n!hang")
        if not await server.until(lambda: len(storming()) > 150, 60):
            raise SystemExit("the storm did not come up")
        worker = worker_of(server, stormy)
        watch = asyncio.create_task(peak_of(worker))
        beside = await measure(server, quiet, options.turns)
        watch.cancel()
        peak = await watch
        asked = time.monotonic()
        await server.request("turn/interrupt", {"threadId": stormy, "turnId": turn.id})
        await turn.ended
        took = time.monotonic() - asked
        left = await leftovers(storming)
        bad = report(alone, beside)
        print(f"worker of the storm: {peak:.0f} MiB at most (budget {WORKER_MIB})")
        print(f"interrupt: {turn.status} after {took:.2f} s, {len(left)} processes left")
        return int(bad or peak > WORKER_MIB or bool(left) or turn.status != "interrupted")


async def start(server: StressServer, sandbox: str) -> str:
    params = {"cwd": str(server.workspace), "sandbox": sandbox, "approvalPolicy": "never"}
    return str((await server.request("thread/start", params))["thread"]["id"])


def worker_of(server: StressServer, thread: str) -> int:
    rows = server.operate("ps")["threads"]
    return next(int(row["pid"]) for row in rows if row["thread"] == thread)


async def leftovers(look: Callable[[], set[int]]) -> set[int]:
    left = look()
    if left:
        await asyncio.sleep(1)
        left = look()
    return left


def report(alone: dict[str, list[float]], beside: dict[str, list[float]]) -> bool:
    print(f"{'turn':8}  {'':8}{'p50':>8} {'p99':>8}  ms")
    bad = False
    for kind in KINDS:
        for name, times in (("alone", alone[kind]), ("beside", beside[kind])):
            print(
                f"{kind:8}  {name:8}{1000 * percentile(times, 0.5):8.1f} {1000 * percentile(times, 0.99):8.1f}"
            )
        factor = percentile(beside[kind], 0.99) / percentile(alone[kind], 0.99)
        print(f"{kind:8}  p99 by a factor of {factor:.2f} (at most {FACTOR})")
        bad |= factor > FACTOR
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--turns", type=int, default=150, help="turns of each kind, without and with the storm"
    )
    parser.add_argument("--sandbox", default="workspace-write")
    return asyncio.run(storm(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
