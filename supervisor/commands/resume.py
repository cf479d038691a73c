"""`bulkhead resume THREAD`: let a paused thread go on.

{"id": 1, "method": "resume", "params": {"thread": "01a2"}}  ->  {"id": 1, "result": {"thread": "...", "processes": 3}}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from protocol.rpc import RpcError
from supervisor.commands import target
from supervisor.freezing import thaw

if TYPE_CHECKING:
    from supervisor.front import Front


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=True)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    thread = target.find_thread(front, str(params.get("thread", "")))
    incarnation = thread.incarnation
    if incarnation is None or not incarnation.paused:
        raise RpcError(f"thread {thread.id} is not paused ({thread.state})")
    running = await asyncio.get_running_loop().run_in_executor(None, thaw, incarnation.handle.pid)
    # Its silence was ours to answer for.
    incarnation.last_heard = time.monotonic()
    incarnation.ping_sent = None
    incarnation.paused = False
    front.journal.note("resumed", thread.id, processes=running)
    return {"thread": thread.id, "processes": running}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "resume")
    if result is not None:
        text = f"resumed thread {result['thread']}: {result['processes']} processes go on"
        print(json.dumps(result) if options.json else text)
    return code
