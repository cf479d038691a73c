"""One request, as a method of the host worker sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TypeVar

import msgspec

from protocol.base import Wire
from protocol.link import Command
from protocol.refusal import decode_params

__all__ = ["HostMethod", "HostRequest"]

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")


class HostRequest:
    def __init__(self, command: Command, executor: Executor) -> None:
        self.experimental = command.experimental
        self.context = command.context
        """What the front added: for `command/exec` the layers of the configuration."""
        self._params = command.params
        self._executor = executor

    def params(self, kind: type[T]) -> T:
        """:raises RpcError: they do not fit."""
        return decode_params(self._params, kind)

    async def blocking(self, function: Callable[[], R]) -> R:
        """Call what may wait for a file system, in a thread: if that never answers, others go on."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)


HostMethod = Callable[[HostRequest], Awaitable[Wire]]
"""Returns the result. What it raises is the answer too: RpcError as it is, OSError in the system's words."""
