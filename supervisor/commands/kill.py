"""`bulkhead kill THREAD`: SIGKILL to its worker. A running turn ends as failed, the thread goes on with its history.

{"id": 1, "method": "kill", "params": {"thread": "01a2"}}  ->  {"id": 1, "result": {"thread": "...", "pid": 123}}
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from protocol.rpc import RpcError
from supervisor.commands import target

if TYPE_CHECKING:
    from supervisor.front import Front


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=True)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    thread = target.find_thread(front, str(params.get("thread", "")))
    incarnation = thread.incarnation
    if incarnation is None or not front.supervisor.endings.kill(thread):
        raise RpcError(f"thread {thread.id} has no worker now ({thread.state})")
    return {"thread": thread.id, "pid": incarnation.handle.pid, "epoch": incarnation.epoch}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "kill")
    if result is not None:
        print(
            json.dumps(result)
            if options.json
            else f"killed worker {result['pid']} of thread {result['thread']}"
        )
    return code
