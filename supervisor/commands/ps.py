"""`bulkhead ps [--server SERVER] [--json]`: the threads of all running servers of this user.

{"id": 1, "method": "ps", "params": {"usage": false}}  ->  {"id": 1, "result": {"server": {...}, "threads": [{...}], "parked": 4}}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

from supervisor import exit_codes
from supervisor.commands import target
from supervisor.commands.table import table
from supervisor.footprint import Footprint, footprint
from supervisor.loaded import LoadedThread

if TYPE_CHECKING:
    from supervisor.front import Front

_COLUMNS = ("THREAD", "NAME", "STATE", "PID", "EPOCH", "MEM", "CPU", "AGE", "TURN", "RESTARTS", "CWD", "WHY")


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=False)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    threads = sorted(front.supervisor.threads.values(), key=lambda thread: thread.id)
    return {
        "server": {"pid": os.getpid(), "name": front.runtime.name, "home": front.home},
        "draining": front.supervisor.draining,
        "parked": len(front.nursery.parked),
        "models": front.broker.limiter.state(),
        "threads": await rows_of(threads, usage=params.get("usage") is not False),
    }


async def rows_of(threads: list[LoadedThread], *, usage: bool = True) -> list[dict[str, Any]]:
    """A row a thread; without `usage` nothing is measured."""
    pids = [t.incarnation.handle.pid for t in threads if t.incarnation is not None and usage]
    # The kernel walks a process's pages for this, about 1 ms each: not in the loop.
    used = await asyncio.get_running_loop().run_in_executor(
        None, lambda: {pid: footprint(pid) for pid in pids}
    )
    now = time.time()
    return [_row(thread, now, used) for thread in threads]


def _row(thread: LoadedThread, now: float, prints: dict[int, Footprint | None]) -> dict[str, Any]:
    incarnation = thread.incarnation
    pid = incarnation.handle.pid if incarnation else None
    used = prints.get(pid) if pid else None
    return {
        "thread": thread.id,
        "name": thread.facts.name or None,
        "state": thread.state,
        "why": thread.why or None,
        "paused": thread.paused,
        "pid": pid,
        "epoch": thread.epoch,
        "memoryBytes": used.memory if used else None,
        "cpuSeconds": round(used.cpu, 3) if used else None,
        "processes": used.processes if used else None,
        "ageSeconds": round(now - thread.created_at, 3),
        "workerAgeSeconds": round(now - incarnation.born_at, 3) if incarnation else None,
        "turn": thread.turn.id if thread.turn else None,
        "turnSeconds": round(now - thread.turn.started_at_ms / 1000, 3) if thread.turn else None,
        "restarts": thread.restarts,
        "wakes": thread.wakes,
        "lastEnd": str(thread.last_end) if thread.last_end else None,
        "cwd": thread.facts.cwd,
        "model": thread.facts.model,
        "preview": thread.facts.preview,
        "ephemeral": thread.facts.ephemeral,
        "clients": len(thread.subscribers),
    }


def run(options: argparse.Namespace) -> int:
    answers, code = target.ask_all(target.servers(options.server))
    if options.json:
        print(json.dumps(answers, indent=2))
        return code
    if not answers and code == exit_codes.OK:
        print("no server is running")
    for answer in answers:
        _print(answer, several=len(answers) > 1)
    return code


def _print(answer: dict[str, Any], *, several: bool) -> None:
    server = answer["server"]
    if several:
        print(f"server {server['name']}  home {server['home']}")
    for line in table([_COLUMNS, *(_cells(row) for row in answer["threads"])]):
        print(line)
    for model in answer["models"]:
        if model["waiting"] or model["pausedSeconds"]:
            bound = "" if model["limit"] is None else f" of {model['limit']}"
            pause = f", none begins for {model['pausedSeconds']:.1f}s" if model["pausedSeconds"] else ""
            waiting = f"{model['streams']}{bound} streams open, {model['waiting']} wait{pause}"
            print(f"provider {model['provider']}: {waiting}")
    if several:
        print()


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    memory, cpu = row["memoryBytes"], row["cpuSeconds"]
    return (
        row["thread"],
        row["name"] or "-",
        row["state"],
        str(row["pid"] or "-"),
        str(row["epoch"]),
        "-" if memory is None else f"{memory / 2**20:.1f}M",
        "-" if cpu is None else f"{cpu:.2f}s",
        age(row["ageSeconds"]),
        "-" if row["turn"] is None else f"{row['turn'][-12:]} {age(row['turnSeconds'])}",
        str(row["restarts"]),
        row["cwd"],
        row["why"] or "",
    )


def age(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
