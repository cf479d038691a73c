"""`bulkhead events [-f] [-n LINES] [--thread THREAD]`: what supervision did and why.

{"id": 1, "method": "events"}  ->  {"id": 1, "result": {"path": ".../events.jsonl", "thread": null}}
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from supervisor import exit_codes
from supervisor.commands import amounts, target
from supervisor.commands.following import follow, last_lines
from supervisor.commands.table import legible
from supervisor.runtime import lives

if TYPE_CHECKING:
    from supervisor.front import Front

LINES = 50


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=False)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens")
    parser.add_argument(
        "-n", "--lines", type=amounts.lines, default=LINES, help=f"how many of the last events ({LINES})"
    )
    parser.add_argument("--thread", metavar="THREAD", help="only this thread's")


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    part = params.get("thread")
    thread = target.known_id(front, str(part)) if part else None
    return {"path": front.runtime.journal, "thread": thread}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_server(options, "events", thread=options.thread)
    if result is None:
        return code

    path, thread = result["path"], result["thread"]

    def fits(line: str) -> bool:
        event = _event(line)
        return event is not None and thread in (None, event.get("thread"))

    lines: Iterable[str]
    if options.follow:
        lines = follow(path, options.lines, lambda: lives(os.path.dirname(path)), fits)
    else:
        lines = last_lines(path, options.lines, fits)
    for line in lines:
        print(line if options.json else _text(json.loads(line)), flush=True)
    return exit_codes.OK


def _event(line: str) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None  # the last line of a server that was killed
    return event


def _text(event: dict[str, Any]) -> str:
    stamp = time.strftime("%H:%M:%S", time.localtime(event["time"])) + f"{event['time'] % 1:.3f}"[1:]
    rest = " ".join(
        f"{name}={value}" for name, value in event.items() if name not in ("time", "event", "thread")
    )
    return legible(f"{stamp}  {event['event']:<15}  {event.get('thread') or '-':<36}  {rest}".rstrip())
