"""`bulkhead stack THREAD`: where its worker is; of a hung worker that was ended, where it was.

{"id": 1, "method": "stack", "params": {"thread": "01a2"}}
    ->  {"id": 1, "result": {"thread": "...", "pid": 123, "live": true, "stack": "Current thread ..."}}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING, Any

from protocol.rpc import RpcError
from supervisor.commands import target
from supervisor.loaded import Incarnation, LoadedThread

if TYPE_CHECKING:
    from supervisor.front import Front

DUMP_TIMEOUT_S = 2.0
LOOK_S = 0.02
"""A dump is written by the signal handler in several pieces: it is whole when nothing more has come for a look."""


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=True)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    thread = target.find_thread(front, str(params.get("thread", "")))
    incarnation = thread.incarnation
    if incarnation is not None:
        text = await _dump(
            thread, incarnation, os.path.join(front.runtime.stacks, str(incarnation.handle.pid))
        )
        return {"thread": thread.id, "pid": incarnation.handle.pid, "live": True, "stack": text}
    last = thread.last_stack
    text = _read(os.path.join(front.runtime.stacks, str(last)), 0) if last else ""
    if not text:
        raise RpcError(f"thread {thread.id} has no worker now ({thread.state}), and none that hung")
    return {"thread": thread.id, "pid": last, "live": False, "stack": text}


async def _dump(thread: LoadedThread, incarnation: Incarnation, path: str) -> str:
    """One at a time, or each would have a part of the other's; and it has to run for that."""
    pid = incarnation.handle.pid
    async with incarnation.freezing:
        if incarnation.paused:
            raise RpcError(f"worker {pid} is paused: it can tell where it is once it goes on")
        before = _size(path)
        incarnation.handle.signal(signal.SIGUSR1)
        await _written(path, before)
        text = _read(path, before)
    if text:
        return text
    if thread.incarnation is not incarnation:
        raise RpcError(f"worker {pid} of thread {thread.id} has ended meanwhile")
    raise RpcError(f"worker {pid} does not react: it is stopped or sleeps in the kernel")


async def _written(path: str, before: int) -> None:
    size = before
    for _ in range(int(DUMP_TIMEOUT_S / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        now = _size(path)
        if now > before and now == size:
            return
        size = now


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _read(path: str, start: int) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_about(options, "stack")
    if result is not None:
        if options.json:
            print(json.dumps(result))
        else:
            print(f"worker {result['pid']}{'' if result['live'] else ', which hung and was ended'}")
            print(result["stack"], end="")
    return code
