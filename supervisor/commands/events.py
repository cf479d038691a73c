"""`bulkhead events [-f] [-n LINES] [--thread THREAD]`: what supervision did and why.

{"id": 1, "method": "events"}  ->  {"id": 1, "result": {"path": ".../events.jsonl", "thread": null}}
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import TYPE_CHECKING, Any

from supervisor import exit_codes
from supervisor.commands import amounts, target
from supervisor.commands.following import follow, last_lines

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
    thread = target.find_thread(front, str(part)).id if part else None
    return {"path": front.runtime.journal, "thread": thread}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_server(options, "events", thread=options.thread)
    if result is None:
        return code

    def show(line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return  # the last line of a server that was killed
        if result["thread"] is None or event.get("thread") == result["thread"]:
            print(line if options.json else _text(event), flush=True)

    for line in last_lines(result["path"], options.lines):
        show(line)
    if options.follow:
        for line in follow(result["path"], lambda: os.path.exists(os.path.dirname(result["path"]))):
            show(line)
    return exit_codes.OK


def _text(event: dict[str, Any]) -> str:
    stamp = time.strftime("%H:%M:%S", time.localtime(event["time"])) + f"{event['time'] % 1:.3f}"[1:]
    rest = " ".join(
        f"{name}={value}" for name, value in event.items() if name not in ("time", "event", "thread")
    )
    return f"{stamp}  {event['event']:<15}  {event.get('thread') or '-':<36}  {rest}".rstrip()
