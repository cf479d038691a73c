#!/usr/bin/env python3
"""Threads at work while everything goes wrong at random: a long run of what tests/test_chaos.py does for seconds.

    scripts/chaos.py --threads 200 --seconds 300 --seed 7 [--full-disk]

Workers are killed, crash, and are stopped (found as hung); threads are poisoned until they are quarantined, and
released; zygotes are killed; workers are replaced as after an upgrade; commands flood; the client does not read for
seconds; with --full-disk (as root: it mounts a small file system for the home) the disk fills up. The same seed strikes
in the same order. Checked all the time: every accepted turn ends once, with every word in order; quiet threads are not
touched; nothing is left at the end. Ends with 1 if anything of that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from stress_server import BrokenPromise, StressServer, Turn, descendants, percentile

SWITCHES = (
    *("-c", "bulkhead.hang_silence_ms=1000"),
    *("-c", "bulkhead.hang_grace_ms=1000"),
    *("-c", "bulkhead.hibernate_after_s=2"),
    *("-c", "bulkhead.restart_backoff_cap_ms=500"),
)
QUIET_SHARE = 0.1
"""Threads that nobody strikes: what happens to the others must not change a word of theirs."""
PAUSE_S = 0.15
"""Between two strikes, on the average."""
SETTLE_S = 120.0
DISK = "64m"
PACE_S = 0.03
"""Between two words of a model."""
REST_S = 15.0
"""Between two turns of a thread, on the average: 200 threads then keep two cores busy for three quarters of the time. With 0
the machine is overloaded, and what is measured is how its scheduler shares it out."""
EXPECTED = (
    "SIGKILL",
    "SIGSEGV",
    "hung",
    "killed by operator",
    "start-up failure",
    "No space left",
    "quarantined",
)


def scripts(pace: float) -> tuple[tuple[str, int], ...]:
    """What the models of the threads do, and how many words they say; quiet threads do the first."""
    return (
        (f"!stream 100 {pace}", 100),
        (f"!run sleep 0.5\n!then\n!stream 30 {pace}", 30),
        ("!run head -c 3000000 /dev/zero | tr '\\0' x\n!then\n!stream 20", 20),
        (f"!run setsid sleep 600 & sleep 0.3\n!then\n!stream 20 {pace}", 20),
    )


class Chaos:
    def __init__(
        self, server: StressServer, threads: list[str], options: argparse.Namespace, disk: Path | None
    ) -> None:
        self.server = server
        self._rest = options.rest
        self._scripts = scripts(options.pace)
        self.threads = threads
        self.quiet = set(threads[: max(1, int(len(threads) * QUIET_SHARE))])
        self.strikes: Counter[str] = Counter()
        self.kills: list[tuple[float, str]] = []
        """When which turn's worker was killed."""
        self.silences: list[tuple[float, float]] = []
        """From when to when the client did not read."""
        self._choose = random.Random(options.seed)
        self._disk = disk
        self._replacing: asyncio.Future[None] | None = None
        self.load = 0.0
        """Which part of all processors' time was used while it struck."""
        self.over = False

    async def live(self, thread: str) -> None:
        """Turn after turn, whatever becomes of them."""
        choose = random.Random(thread)
        await asyncio.sleep(choose.uniform(0, self._rest))  # not all at the same moment
        while not self.over:
            text, words = self._scripts[0] if thread in self.quiet else choose.choice(self._scripts)
            turn = self.server.begin(thread, text, words)
            if await turn.ended == "refused":
                await asyncio.sleep(0.2)
            rest = choose.uniform(0, 2 * self._rest)  # at times long enough to fall asleep
            while rest > 0 and not self.over:
                await asyncio.sleep(min(rest, 0.5))
                rest -= 0.5

    async def strike(self, seconds: float) -> None:
        idle, elapsed = _idle_ticks()
        try:
            await self._strike(seconds)
        finally:
            idle_then, then = _idle_ticks()
            self.load = 1 - (idle_then - idle) / max(1, then - elapsed)

    async def _strike(self, seconds: float) -> None:
        kinds = [
            *(self._kill,) * 6,
            *(self._crash,) * 3,
            *(self._stop,) * 3,
            *(self._operator,) * 2,
            self._poison,
            self._zygote,
            self._replace,
            self._slow,
        ]
        if self._disk is not None:
            kinds.append(self._fill)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(self._choose.uniform(0, 2 * PAUSE_S))
            kind = self._choose.choice(kinds)
            self.strikes[kind.__name__.strip("_")] += 1
            with suppress(ProcessLookupError, RuntimeError, OSError):
                await kind()
        await self._release()

    async def _rows(self) -> list[dict[str, object]]:
        ask = partial(self.server.operate, "ps", usage=False)
        answer = await asyncio.get_running_loop().run_in_executor(None, ask)
        return [row for row in answer["threads"] if row["thread"] not in self.quiet]

    async def _signal(self, number: int) -> None:
        rows = [row for row in await self._rows() if row["pid"]]
        rows = [row for row in rows if row["turn"]] or rows
        if rows:
            row = self._choose.choice(rows)
            if number == signal.SIGKILL and row["turn"]:
                self.kills.append((time.monotonic(), str(row["turn"])))
            os.kill(int(str(row["pid"])), number)

    async def _kill(self) -> None:
        await self._signal(signal.SIGKILL)

    async def _crash(self) -> None:
        await self._signal(signal.SIGSEGV)

    async def _stop(self) -> None:
        await self._signal(signal.SIGSTOP)

    async def _operator(self) -> None:
        rows = [row for row in await self._rows() if row["pid"]]
        if rows:
            await self._operate("kill", thread=str(self._choose.choice(rows)["thread"]))

    async def _operate(self, operation: str, **params: str) -> None:
        def ask() -> None:
            with suppress(Exception):  # it may have no worker just now, or no zygote
                self.server.operate(operation, **params)

        await asyncio.get_running_loop().run_in_executor(None, ask)

    async def _poison(self) -> None:
        """Kill one thread's workers until nobody gives it another one."""
        rows = await self._rows()
        victim = self._choose.choice(rows)["thread"]
        for _ in range(40):
            row = next((row for row in await self._rows() if row["thread"] == victim), None)
            if row is None or row["state"] == "quarantined":
                break
            if row["pid"]:
                with suppress(ProcessLookupError):
                    os.kill(int(str(row["pid"])), signal.SIGKILL)
            await asyncio.sleep(0.05)
        await self._release()

    async def _release(self) -> None:
        for row in await self._rows():
            if row["state"] == "quarantined":
                self.strikes["released"] += 1
                await self._operate("quarantine", thread=str(row["thread"]))

    async def _zygote(self) -> None:
        for pid in descendants(self.server.pid):
            if Path(f"/proc/{pid}/comm").read_text() == "bulkhead-zygote\n":
                os.kill(pid, signal.SIGKILL)

    async def _replace(self) -> None:
        """As after an upgrade: a new zygote, and new workers as their turns end. One at a time, and nobody waits for it."""
        if self._replacing is None or self._replacing.done():
            self._replacing = asyncio.ensure_future(self._operate("replace"))

    async def _slow(self) -> None:
        began = time.monotonic()
        self.server.readable.clear()
        await asyncio.sleep(self._choose.uniform(0.5, 3))
        self.server.readable.set()
        self.silences.append((began, time.monotonic()))

    async def _fill(self) -> None:
        assert self._disk is not None
        ballast = self._disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * (1 << 20))
        await asyncio.sleep(self._choose.uniform(0.2, 1))
        ballast.unlink()


def _idle_ticks() -> tuple[int, int]:
    """The idle time of all processors, and all their time, in clock ticks."""
    with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:]]
    return ticks[3] + ticks[4], sum(ticks[:8])  # what guests used is in the user's time


async def chaos(options: argparse.Namespace, disk: Path | None) -> int:
    problems: list[str] = []
    async with StressServer(*SWITCHES, home=disk) as server:
        threads = [await server.start_thread() for _ in range(options.threads)]
        run = Chaos(server, threads, options, disk)
        lives = [asyncio.create_task(run.live(thread)) for thread in threads]
        try:
            await run.strike(options.seconds)
            run.over = True
            if not await server.until(lambda: all(life.done() for life in lives), SETTLE_S):
                problems.append("turns did not end")
        except BrokenPromise as broken:
            problems.append(str(broken))
        run.over = True
        turns = server.turns
        problems += check(run, turns)
        below = descendants(server.pid)
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)  # who was stopped while idle would hold up the end
        errors = server.errors
    left = [pid for pid in below if Path(f"/proc/{pid}").exists()]
    if left:
        problems.append(f"{len(left)} processes were left: {left[:5]}")
    if "Traceback" in errors:
        problems.append("the server wrote a traceback:\n" + errors[-2000:])
    print(
        f"{options.threads} threads, {options.seconds:g} s, seed {options.seed}, pace {options.pace:g} s, rest {options.rest:g} s"
    )
    print(f"processors: {os.cpu_count()}, {run.load:.0%} busy")
    print("strikes:", ", ".join(f"{count} {kind}" for kind, count in run.strikes.most_common()))
    statuses = Counter(turn.status or "lost" for turn in turns)
    print("turns:", ", ".join(f"{count} {status}" for status, count in statuses.most_common()))
    noticed = noticed_after(run, turns)
    if noticed:
        print(
            f"kill to turn/completed: {percentile(noticed, 0.5) * 1000:.0f} ms median, "
            f"{percentile(noticed, 0.99) * 1000:.0f} ms at p99, {len(noticed)} kills"
        )
    for problem in problems:
        print("BROKEN:", problem)
    print("every turn ended once, in order, and nothing was left" if not problems else "it does not hold")
    return 1 if problems else 0


def noticed_after(run: Chaos, turns: list[Turn]) -> list[float]:
    """Seconds from each kill to the moment when the client read of the turn's end; nothing while it read nothing."""
    by_id = {turn.id: turn for turn in turns}
    found = []
    for at, identity in run.kills:
        turn = by_id.get(identity)
        if turn is None or turn.status != "failed" or turn.ended_at < at:
            continue
        deaf = sum(max(0.0, min(until, turn.ended_at) - max(since, at)) for since, until in run.silences)
        found.append(turn.ended_at - at - deaf)
    return found


def check(run: Chaos, turns: list[Turn]) -> list[str]:
    problems = [
        f"turn {turn.id or '?'} of thread {turn.thread} has not ended"
        for turn in turns
        if not turn.ended.done()
    ]
    for turn in turns:
        if turn.thread in run.quiet and turn.status != "completed" and run.strikes["fill"] == 0:
            problems.append(f"a quiet thread was touched: {turn.status} {turn.error}")
        elif turn.status in ("failed", "refused") and not any(word in turn.error for word in EXPECTED):
            problems.append(f"turn {turn.id} {turn.status}: {turn.error}")
    return problems[:20]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--pace", type=float, default=PACE_S, metavar="S", help=f"between two words ({PACE_S})"
    )
    parser.add_argument(
        "--rest", type=float, default=REST_S, metavar="S", help=f"between two turns ({REST_S:g})"
    )
    parser.add_argument("--full-disk", action="store_true", help="fill the home's file system now and then")
    options = parser.parse_args()
    if not options.full_disk:
        return asyncio.run(chaos(options, None))
    with tempfile.TemporaryDirectory(prefix="bh-disk-") as disk:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", disk]
        if subprocess.run(mount, check=False).returncode:
            print("--full-disk needs the right to mount a file system", file=sys.stderr)
            return 2
        try:
            return asyncio.run(chaos(options, Path(disk)))
        finally:
            subprocess.run(["umount", "-l", disk], check=False)


if __name__ == "__main__":
    sys.exit(main())
