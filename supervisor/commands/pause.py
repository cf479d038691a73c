"""`bulkhead pause THREAD`: stop its worker and all its commands where they are; nothing is lost, and nobody else waits.

{"id": 1, "method": "pause", "params": {"thread": "01a2"}}  ->  {"id": 1, "result": {"thread": "...", "processes": 3}}

What clients ask of a paused thread is answered after `bulkhead resume`. It does not hang as long as it is paused.
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
    if incarnation is None:
        raise RpcError(f"thread {thread.id} has no worker now ({thread.state})")
    stopped = await freezing.pause(incarnation)
    if stopped is None:
        raise RpcError(f"the worker of thread {thread.id} is about to end ({thread.state})")
    front.journal.note("paused", thread.id, processes=stopped)
    return {"thread": thread.id, "processes": stopped}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "pause")
    if result is not None:
        text = f"paused thread {result['thread']}: {result['processes']} processes stopped"
        print(json.dumps(result) if options.json else text)
    return code
