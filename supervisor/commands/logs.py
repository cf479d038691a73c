"""`bulkhead logs [-f] [-n LINES] THREAD`: what the thread's workers print, and their births and ends.

{"id": 1, "method": "logs", "params": {"thread": "01a2"}}  ->  {"id": 1, "result": {"thread": "...", "path": "..."}}
"""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from supervisor import exit_codes
from supervisor.commands import amounts, target
from supervisor.commands.following import follow, last_lines
from supervisor.runtime import lives

if TYPE_CHECKING:
    from supervisor.front import Front

LINES = 100


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=True)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    parser.add_argument(
        "-n", "--lines", type=amounts.lines, default=LINES, help=f"how many of the last lines ({LINES})"
    )


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    thread = target.known_id(front, str(params.get("thread", "")))
    return {"thread": thread, "path": front.supervisor.logs.path(thread)}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "logs")
    if result is None:
        return code

    def show(line: str) -> None:
        print(json.dumps({"thread": result["thread"], "line": line}) if options.json else line, flush=True)

    path = result["path"]
    if options.follow:
        server = os.path.dirname(os.path.dirname(path))
        for line in follow(path, options.lines, lambda: lives(server)):
            show(line)
        return exit_codes.OK
    for line in last_lines(path, options.lines):
        show(line)
    return exit_codes.OK
