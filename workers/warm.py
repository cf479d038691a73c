"""What the zygote plays once, so that nothing is imported, compiled or looked up after a fork.

The whole way of a turn in small: a loop, a link that is never connected, a model request to a server in this
process, a rollout, a patch, a command. Everything is taken down again: no thread, socket or loop survives.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable

import msgspec
import uvloop
import zmq

from config.document import Document
from protocol.policy import DangerFullAccess
from rollouts.catalog import Catalog
from sandbox_backends.planner import plan
from sandbox_backends.registry import default_registry
from sandbox_backends.runner import run_with_plan
from workers import models, process
from workers.tools import command_actions, patch

__all__ = ["play"]

_PATCH = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n"


def play() -> None:
    """One throw-away turn; about 100 ms."""
    models.warm()
    registry = default_registry()
    for name in registry.names:
        registry.capability(name)
    with tempfile.TemporaryDirectory(prefix="bulkhead-warm-") as folder:
        _files(folder)
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(_command(folder))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    assert process.run  # the way in of every worker, imported with all that it needs


def _files(folder: str) -> None:
    msgspec.json.decode(msgspec.json.encode(Document()), type=Document)
    patch.wire_changes(patch.verify(patch.parse(_PATCH), folder))
    command_actions.actions_of(["/bin/bash", "-lc", "ls"])
    catalog = Catalog(folder)
    catalog.close()
    context = zmq.Context(1)
    socket = context.socket(zmq.DEALER)
    socket.close(0)
    context.term()


async def _command(folder: str) -> None:
    prepared = plan(["/bin/true"], cwd=folder, policy=DangerFullAccess(), env=dict(os.environ))
    command = await run_with_plan(prepared)
    waiting: Awaitable[object] = command.wait()
    await waiting
