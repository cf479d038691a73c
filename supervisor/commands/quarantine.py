"""`bulkhead quarantine release THREAD`: give a quarantined thread a worker again, and forget its deaths.

{"id": 1, "method": "quarantine", "params": {"thread": "01a2"}}  ->  {"id": 1, "result": {"thread": "...", "last": "..."}}
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from protocol.rpc import RpcError
from supervisor.commands import target
from supervisor.commands.table import legible
from supervisor.states import State

if TYPE_CHECKING:
    from supervisor.front import Front


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["release"], help="what to do")
    target.arguments(parser, thread=True)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    thread = target.find_thread(front, str(params.get("thread", "")))
    if thread.state is not State.QUARANTINED:
        raise RpcError(f"thread {thread.id} is not quarantined ({thread.state})")
    last = str(thread.last_end)
    front.journal.note(
        "released", thread.id, last=last
    )  # a worker that waits for a thread is adopted at once
    await front.supervisor.endings.restart(thread)
    return {"thread": thread.id, "last": last}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "quarantine")
    if result is not None:
        text = f"released thread {result['thread']}; its last worker: {legible(result['last'])}"
        print(json.dumps(result) if options.json else text)
    return code
