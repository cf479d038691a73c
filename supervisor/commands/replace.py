"""`bulkhead replace [--deadline S]`: new workers for all threads, e.g. after an upgrade, without a turn noticing.

{"id": 1, "method": "replace", "params": {"deadline": 30.0 | null}}
    ->  {"id": 1, "result": {"done": ["..."], "interrupted": [], "kept": []}}
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import msgspec

from supervisor.commands import amounts, target
from supervisor.control import ASK_TIMEOUT_S
from supervisor.draining import replace

if TYPE_CHECKING:
    from supervisor.front import Front


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=False)
    parser.add_argument(
        "--deadline", type=amounts.seconds, metavar="S", help="interrupt what still runs after S seconds"
    )


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    threads = list(front.supervisor.threads.values())
    outcome: dict[str, Any] = msgspec.to_builtins(await replace(front, threads, target.deadline_of(params)))
    return outcome


def run(options: argparse.Namespace) -> int:
    timeout = None if options.deadline is None else options.deadline + ASK_TIMEOUT_S
    code, result = target.ask_server(options, "replace", timeout, deadline=options.deadline)
    if result is not None:
        text = (
            f"{len(result['done'])} workers replaced, {len(result['interrupted'])} interrupted, "
            f"{len(result['kept'])} kept: paused, or at work in the background"
        )
        print(json.dumps(result) if options.json else text)
    return code
