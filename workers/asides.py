"""What goes on beside the commands of a thread, which are taken one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from protocol.rpc import RpcError
from workers.call import Call
from workers.mcp.errors import McpServerError
from workers.methods.mcp import refusal_of

__all__ = ["Asides"]


class Asides:
    """`ended` is called with the task of each, whatever came of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: Callable[[asyncio.Task[None]], None]) -> None:
        self._loop = loop
        self._ended = ended
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        return not self._tasks

    def answer(self, call: Call, work: Coroutine[Any, Any, None]) -> None:
        """Answer a request while the next ones are taken; `work` replies."""

        async def answer() -> None:
            try:
                await work
            except McpServerError as error:
                call.refuse(refusal_of(error))
            except RpcError as error:
                call.refuse(error)

        self.keep(answer())

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._ended)
