"""`bulkhead drain THREAD | --all [--deadline S]`: no new turns; those that run end, then the threads are unloaded.

{"id": 1, "method": "drain", "params": {"thread": "01a2" | null, "all": true, "deadline": 30.0 | null}}
    ->  {"id": 1, "result": {"done": ["..."], "interrupted": [], "kept": []}}

With --all the server takes no new threads from then on: end it, or take it back with --cancel.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from supervisor import exit_codes
from supervisor.commands import amounts, target
from supervisor.control import ASK_TIMEOUT_S
from supervisor.draining import Outcome, drain

if TYPE_CHECKING:
    from supervisor.front import Front


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "thread", metavar="THREAD", nargs="?", help="name or id of a thread, or part of the id"
    )
    parser.add_argument("--all", action="store_true", help="the whole server")
    parser.add_argument("--cancel", action="store_true", help="with --all: take threads and turns again")
    parser.add_argument(
        "--deadline", type=amounts.seconds, metavar="S", help="interrupt what still runs after S seconds"
    )
    target.arguments(parser, thread=False)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    supervisor = front.supervisor
    deadline = target.deadline_of(params)  # before anything changes
    if not params.get("all"):
        threads = [target.find_thread(front, str(params.get("thread") or ""))]
        outcome = await drain(front, threads, deadline)
    elif params.get("cancel"):
        supervisor.draining = False
        for thread in supervisor.threads.values():
            thread.draining = False
            supervisor.hold(thread, held=False)
        front.journal.note("drain-cancelled")
        outcome = Outcome()
    else:
        supervisor.draining = True
        outcome = await drain(front, list(supervisor.threads.values()), deadline)
    told: dict[str, Any] = msgspec.to_builtins(outcome)
    return told


def run(options: argparse.Namespace) -> int:
    if bool(options.thread) == options.all or (options.cancel and not options.all):
        print("bulkhead: name a thread, or say --all", file=sys.stderr)
        return exit_codes.USAGE
    # Without a deadline a turn may take as long as it takes.
    timeout = None if options.deadline is None else options.deadline + ASK_TIMEOUT_S
    if options.all:
        code, result = target.ask_server(
            options, "drain", timeout, all=True, cancel=options.cancel, deadline=options.deadline
        )
    else:
        code, result = target.ask_about(options, "drain", timeout, deadline=options.deadline)
    if result is not None:
        if result["kept"]:  # whoever drains to end the server is not to end it now
            print(f"bulkhead: the drain of {len(result['kept'])} threads was taken back", file=sys.stderr)
            code = exit_codes.FAILED
        if options.json:
            print(json.dumps(result))
        elif options.cancel:
            print("the server takes threads and turns again")
        else:
            print(f"{len(result['done'])} threads drained, {len(result['interrupted'])} interrupted")
    return code
