"""`bulkhead restart THREAD`: a new worker for a thread, in order; also the way out of quarantine.

{"id": 1, "method": "restart", "params": {"thread": "01a2"}}  ->  {"id": 1, "result": {"thread": "...", "epoch": 2}}
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Any

from protocol.rpc import RpcError
from supervisor.commands import target
from supervisor.states import State

if TYPE_CHECKING:
    from supervisor.front import Front

BACK_TIMEOUT_S = 10.0
LOOK_S = 0.005


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=True)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    thread = target.find_thread(front, str(params.get("thread", "")))
    before = thread.epoch
    if thread.state is State.QUARANTINED:
        front.journal.note("released", thread.id, last=str(thread.last_end))
    await front.supervisor.endings.restart(thread)
    try:
        async with asyncio.timeout(BACK_TIMEOUT_S):
            while thread.epoch == before or thread.state not in (State.IDLE, State.BUSY):
                if front.supervisor.threads.get(thread.id) is not thread:
                    raise RpcError(f"thread {thread.id} is not loaded any more")
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise RpcError(f"thread {thread.id} has no new worker yet ({thread.state})") from None
    assert thread.incarnation is not None
    return {"thread": thread.id, "pid": thread.incarnation.handle.pid, "epoch": thread.epoch}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "restart")
    if result is not None:
        text = f"thread {result['thread']} has worker {result['pid']} (epoch {result['epoch']})"
        print(json.dumps(result) if options.json else text)
    return code
