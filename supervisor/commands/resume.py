"""`bulkhead resume THREAD`: let a paused thread go on.

{"id": 1, "method": "resume", "params": {"thread": "01a2"}}  ->  {"id": 1, "result": {"thread": "...", "processes": 3}}
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from protocol.rpc import RpcError
from supervisor import freezing
from supervisor.commands import target

if TYPE_CHECKING:
    from supervisor.front import Front


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=True)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    thread = target.find_thread(front, str(params.get("thread", "")))
    incarnation = thread.incarnation
    running = None if incarnation is None else await freezing.go_on(incarnation)
    if running is None:
        raise RpcError(f"thread {thread.id} is not paused ({thread.state})")
    front.journal.note("resumed", thread.id, processes=running)
    return {"thread": thread.id, "processes": running}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "resume")
    if result is not None:
        text = f"resumed thread {result['thread']}: {result['processes']} processes go on"
        print(json.dumps(result) if options.json else text)
    return code
