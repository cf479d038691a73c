"""A streaming command's output on its way to the client: in order, in small lines, and no faster than it is read."""

from __future__ import annotations

import asyncio
from typing import Literal

from protocol.command_exec import CommandExecOutputDeltaNotification
from protocol.link import Record
from protocol.rpc import notification_line
from sandbox_backends.command import RunningCommand
from workers.link import Link

__all__ = ["OutputPump"]

DELTA_BYTES = 32 * 1024
"""Of output in a line, which is 43 KiB then: several clients read lines of at most 64 KiB."""
PAUSE_BYTES = 256 * 1024
"""The command waits when so much has not been sent."""
RESUME_BYTES = 64 * 1024
LEFT_IN_PIPE = 1024 * 1024
"""What a command that has ended may leave in its pipe (the system's limit) is read beyond that, or it would be lost."""


class _Stream:
    def __init__(self, name: Literal["stdout", "stderr"], cap: int | None) -> None:
        self.name = name
        self.room = cap
        """Bytes that may still be said; None: any number."""
        self.backlog = bytearray()
        self.capped = False
        """The last byte that may be said is in the backlog, or has been said."""

    def push(self, chunk: bytes) -> None:
        if self.room is not None:
            if self.room == 0:
                return
            chunk = chunk[: self.room]
            self.room -= len(chunk)
            self.capped = self.room == 0
        self.backlog += chunk

    def pop(self, process_id: str) -> CommandExecOutputDeltaNotification:
        piece = bytes(self.backlog[:DELTA_BYTES])
        del self.backlog[:DELTA_BYTES]
        return CommandExecOutputDeltaNotification(
            process_id=process_id,
            stream=self.name,
            delta_base64=piece,
            cap_reached=self.capped and not self.backlog,
        )


class OutputPump:
    """`cap`: bytes of each stream that the client wants."""

    def __init__(self, link: Link, process_id: str, cap: int | None) -> None:
        self._link = link
        self._process_id = process_id
        self._streams = _Stream("stdout", cap), _Stream("stderr", cap)
        self._task: asyncio.Task[None] | None = None
        self._paused = False
        self.command: RunningCommand | None = None

    def stdout(self, chunk: bytes) -> None:
        self._push(self._streams[0], chunk)

    def stderr(self, chunk: bytes) -> None:
        self._push(self._streams[1], chunk)

    def _push(self, stream: _Stream, chunk: bytes) -> None:
        stream.push(chunk)
        if not self._backlog:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._pump())
        command = self.command
        if command is not None and not self._paused:
            allowed = PAUSE_BYTES + (LEFT_IN_PIPE if command.exited else 0)
            if self._backlog >= allowed:
                self._paused = True
                command.pause()

    @property
    def _backlog(self) -> int:
        return sum(len(stream.backlog) for stream in self._streams)

    async def _pump(self) -> None:
        while self._backlog:
            for stream in self._streams:
                if stream.backlog:
                    await self._link.ready()
                    delta = stream.pop(self._process_id)
                    line = notification_line("command/exec/outputDelta", delta)
                    self._link.say(Record.EVENTS, 0, line)
                    await asyncio.sleep(0)  # now it is sent, and the link knows its credit
            if self._paused and self._backlog < RESUME_BYTES:
                self._paused = False
                if self.command is not None:
                    self.command.resume()

    async def drained(self) -> None:
        """Everything has been said."""
        while self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))
