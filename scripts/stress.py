#!/usr/bin/env python3
"""N threads, M turns each, all at once: text, commands, patches, interrupts, a client that reads slowly at times.

    scripts/stress.py --threads 1000 --turns 3 --svg latency.svg
    scripts/stress.py --threads 10000 --turns 0 --asleep --busy 20       memory of threads that hibernate
    scripts/stress.py --threads 100 --turns 0 --stall 60                 memory while the client reads nothing

Every turn must be answered and end once, with every word in order. Prints a table, and ends with 1 if a budget is
broken or anything was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from contextlib import suppress

from stress_report import BUDGETS, plot, table
from stress_server import StressServer, Turn, descendants, percentile, resident_mib

PATIENCE_S = 600.0
STARTS_AT_ONCE = 64
ASLEEP_AFTER_S = 0.5
WORDS = 40
STALLED_WORDS = 1500
"""About five times what a worker may have on its way to a client that does not read."""
SAMPLE_S = 0.5
KINDS = ("text", "text", "text", "command", "patch", "interrupt")


def script(kind: str, mark: str) -> tuple[str, int | None]:
    if kind == "command":
        return f"!run echo {mark}\n!then\n!stream {WORDS}", WORDS
    if kind == "patch":
        patch = f"*** Begin Patch\n*** Add File: {mark}.txt\n+{mark}\n*** End Patch"
        return f"!patch\n{patch}\n!then\n!stream {WORDS}", WORDS
    return f"!stream {WORDS} 0.005", WORDS


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


async def live(server: StressServer, thread: str, turns: int, choose: random.Random) -> None:
    for number in range(turns):
        kind = choose.choice(KINDS)
        turn = server.begin(thread, *script(kind, f"{thread[-12:]}-{number}"))
        if kind == "interrupt":
            await asyncio.sleep(choose.uniform(0.05, 0.5))
            if turn.id and not turn.status:
                with suppress(RuntimeError):  # it was over before
                    await server.request("turn/interrupt", {"threadId": thread, "turnId": turn.id})
        await turn.ended


async def slow_reader(server: StressServer, choose: random.Random) -> None:
    while True:
        await asyncio.sleep(choose.uniform(1, 3))
        server.readable.clear()
        await asyncio.sleep(choose.uniform(0.2, 1))
        server.readable.set()


async def stress(options: argparse.Namespace) -> int:
    choose = random.Random(options.seed)
    switches = ["-c", "bulkhead.parked_workers=8"]
    if options.asleep:
        switches += ["-c", f"bulkhead.hibernate_after_s={ASLEEP_AFTER_S}"]
    stalled = 0.0
    async with StressServer(*switches) as server:
        began = time.monotonic()
        gate = asyncio.Semaphore(STARTS_AT_ONCE)
        starts: list[float] = []

        async def start() -> str:
            async with gate:
                asked = time.monotonic()
                thread = await server.start_thread()
                starts.append(time.monotonic() - asked)
                progress(f"{len(starts)} of {options.threads} threads started")
                return thread

        threads = await asyncio.gather(*(start() for _ in range(options.threads)))
        started_s = time.monotonic() - began
        if options.asleep:
            await asleep(server, threads, options.busy)
        if options.stall:
            stalled = await stall(server, threads, options.stall)
        reader = asyncio.create_task(slow_reader(server, choose)) if options.turns else None
        lives = [asyncio.create_task(live(server, t, options.turns, choose)) for t in threads]
        wanted = options.threads * options.turns
        if options.turns:

            def done() -> bool:
                ended = sum(turn.ended.done() for turn in server.turns)
                progress(f"{ended} of {wanted} turns")
                return all(task.done() for task in lives)

            finished = await server.until(done, PATIENCE_S)
        else:
            finished = True
        if reader is not None:
            reader.cancel()
        server.readable.set()
        progress("")
        return report(server, options, starts, started_s, stalled=stalled, finished=finished)


async def stall(server: StressServer, threads: list[str], seconds: float) -> float:
    """All stream to a client that reads nothing for so long; by how many KiB a thread the front has grown meanwhile."""
    first = [
        server.begin(thread, "!stream 20", 20) for thread in threads
    ]  # what a thread costs that has worked
    await asyncio.gather(*(turn.ended for turn in first))
    before = resident_mib(server.pid)
    turns = [server.begin(thread, f"!stream {STALLED_WORDS} 0.001", STALLED_WORDS) for thread in threads]
    await server.until(lambda: all(turn.first_word_at for turn in turns), PATIENCE_S)
    server.readable.clear()
    end, most = time.monotonic() + seconds, before
    while time.monotonic() < end:
        most = max(most, resident_mib(server.pid))
        progress(f"the front has {most:.1f} MiB, {end - time.monotonic():.0f} s")
        await asyncio.sleep(SAMPLE_S)
    server.readable.set()
    await server.until(lambda: all(turn.ended.done() for turn in turns), PATIENCE_S)
    whole = sum(turn.status == "completed" for turn in turns)
    grown = (most - before) * 1024 / len(threads)
    print(
        f"{len(threads)} threads streamed to a client that read nothing for {seconds:g} s: front {before:.1f} MiB before, "
        f"{most:.1f} MiB at most ({grown:.0f} KiB a thread); {whole} turns came whole and in order afterwards"
    )
    return grown


async def asleep(server: StressServer, threads: list[str], busy: int) -> None:
    """All hibernate but a few that work; says what they cost."""

    def awake() -> int:
        return sum(row["pid"] is not None for row in server.operate("ps")["threads"])

    loop = asyncio.get_running_loop()
    deadline = time.monotonic() + PATIENCE_S
    while (left := await loop.run_in_executor(None, awake)) and time.monotonic() < deadline:
        progress(f"{left} threads are awake")
        await asyncio.sleep(1)
    turns = [server.begin(thread, "!stream 600 0.01", 600) for thread in threads[:busy]]
    await server.until(lambda: all(turn.first_word_at for turn in turns), PATIENCE_S)
    everything = {server.pid, *descendants(server.pid)}
    total = sum(proportional_mib(pid) for pid in everything)
    waking = sorted((turn.accepted_at - turn.asked_at) * 1000 for turn in turns)
    print(
        f"{len(threads)} threads loaded, {busy} of them busy: {len(everything)} processes, {total:.0f} MiB in all "
        f"(front {resident_mib(server.pid):.0f} MiB); accepted after waking in {percentile(waking, 0.5):.0f} ms "
        f"(median), {waking[-1]:.0f} ms at most"
    )
    await asyncio.gather(*(turn.ended for turn in turns))


def proportional_mib(pid: int) -> float:
    """What a process costs: shared pages count by the share."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
    except OSError:
        return 0.0


def report(
    server: StressServer,
    options: argparse.Namespace,
    starts: list[float],
    started_s: float,
    *,
    stalled: float,
    finished: bool,
) -> int:
    turns: list[Turn] = server.turns
    series = {
        "thread/start answered": starts,
        "turn accepted": [t.accepted_at - t.asked_at for t in turns if t.accepted_at],
        "first word": [t.first_word_at - t.asked_at for t in turns if t.first_word_at],
        "turn ended": [t.ended_at - t.asked_at for t in turns if t.ended_at],
    }
    print(
        f"{options.threads} threads ({len(starts) / started_s:.0f}/s), {len(turns)} turns, seed {options.seed}"
    )
    print(table(series))
    statuses: dict[str, int] = {}
    for turn in turns:
        statuses[turn.status or "lost"] = statuses.get(turn.status or "lost", 0) + 1
    print("turns:", ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "none")
    front = resident_mib(server.pid)
    print(f"front: {front:.0f} MiB")
    if options.svg:
        with open(options.svg, "w") as file:
            file.write(plot(series))
    values = {
        "lost or refused": float(statuses.get("lost", 0) + statuses.get("refused", 0)),
        "failed": float(statuses.get("failed", 0)),
        "unfinished": float(not finished),
        "stalled KiB a thread": stalled,
        "front KiB a thread": (front - BUDGETS["front KiB a thread"].base) * 1024 / max(1, options.threads),
    }
    broken = [name for name, budget in BUDGETS.items() if values[name] > budget.limit]
    for name in broken:
        print(f"BROKEN: {name} is {values[name]:.1f}, allowed {BUDGETS[name].limit}: {BUDGETS[name].reason}")
    for turn in [turn for turn in turns if turn.status in ("failed", "refused")][:5]:
        print(f"  {turn.status}: {turn.error}")
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--svg", metavar="FILE", help="plot the latencies")
    parser.add_argument("--asleep", action="store_true", help="let all hibernate first, and tell the memory")
    parser.add_argument("--stall", type=float, default=0, metavar="S", help="read nothing for so long first")
    parser.add_argument("--busy", type=int, default=20, help="with --asleep: how many are woken")
    return asyncio.run(stress(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
