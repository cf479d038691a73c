"""`bulkhead inspect THREAD`: everything the front knows of one thread.

{"id": 1, "method": "inspect", "params": {"thread": "01a2"}}  ->  {"id": 1, "result": {"thread": "...", ...}}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec

from supervisor.commands import ps, target
from supervisor.commands.table import legible
from supervisor.footprint import footprint

if TYPE_CHECKING:
    from supervisor.front import Front


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=True)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    thread = target.find_thread(front, str(params.get("thread", "")))
    incarnation = thread.incarnation
    [row] = await ps.rows_of([thread])
    used = None
    if incarnation is not None:
        used = await asyncio.get_running_loop().run_in_executor(None, footprint, incarnation.handle.pid)
    now = time.monotonic()
    return row | {
        "status": msgspec.json.decode(thread.status),
        "loaded": thread.loaded,
        "rollout": thread.facts.path,
        "log": front.supervisor.logs.path(thread.id),
        "eventLog": incarnation.log_path if incarnation else None,
        "limits": msgspec.to_builtins(thread.limits),
        "controlGroup": incarnation.compartment.path if incarnation and incarnation.compartment else None,
        "used": msgspec.to_builtins(used) if used else None,
        "requestsWaiting": [pending.command.method for pending in thread.pending.values()],
        "questionsOpen": [question.method for question in thread.asked.values()],
        "deathsInWindow": [round(now - death, 1) for death in thread.deaths],
        "streamBytes": incarnation.received if incarnation else None,
        "silentSeconds": round(now - incarnation.last_heard, 3) if incarnation else None,
        "idleSeconds": round(now - incarnation.idle_since, 3) if incarnation and not thread.busy else None,
    }


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "inspect")
    if result is not None:
        if options.json:
            print(json.dumps(result, indent=2))
        else:
            width = max(map(len, result))
            for name, value in result.items():
                print(
                    f"{name.ljust(width)}  {legible(value) if isinstance(value, str) else json.dumps(value)}"
                )
    return code
