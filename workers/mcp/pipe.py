"""An MCP server that is a program: messages are lines on its stdin and stdout.

It starts through the one door through which commands start, without a sandbox: the user's own configuration names it.
So it is marked, written down and ended like a command, with all that it has started.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import jsonrpc_message_adapter

from config.mcp_servers import McpServer
from protocol.policy import DangerFullAccess
from sandbox_backends import identity, planner
from sandbox_backends.command import NOT_FOUND, RunningCommand
from sandbox_backends.errors import SandboxError, StdinError
from sandbox_backends.runner import run_with_plan
from workers.mcp.errors import StartFailed
from workers.mcp.surroundings import Surroundings

__all__ = ["Pipe", "piped"]

INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "USER", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ")
"""What of our environment every such program gets, as with the peer: nothing of it is a secret."""
LINE_LIMIT = 32 << 20
"""Bytes of one message. Pictures and files come in base64; what is longer is no message but a fault."""
LINES_AHEAD = 64
"""Messages that are read before somebody takes them."""
SAID_KEPT = 2048
"""Bytes of stderr that an error can quote."""
QUIET_END_S = 0.3
"""How long a program may take to end by itself when its stdin is closed."""
MISSING = "No such file or directory (os error 2)"
NOT_EXECUTABLE = "Permission denied (os error 13)"


class Pipe:
    """`read` and `write` are what the SDK's session wants. `ended` is set when the program is gone."""

    read: MemoryObjectReceiveStream[SessionMessage | Exception]
    write: MemoryObjectSendStream[SessionMessage]

    def __init__(self, server: McpServer, surroundings: Surroundings) -> None:
        self._server = server
        self._surroundings = surroundings
        self.ended = asyncio.Event()
        self._fault = ""
        self._stopping = False
        self._said = b""
        self._line = bytearray()
        self._lines: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._incoming, self.read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self.write, self._outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        self._tasks: list[asyncio.Task[Any]] = []
        self._command: RunningCommand | None = None

    @property
    def last_words(self) -> str:
        """Why it has ended, as far as that is known; empty while it runs."""
        command = self._command
        if self._fault or self._stopping or command is None or not command.done:
            return self._fault
        said = self._said.decode(errors="replace").strip()
        return f"the program ended{f' and said: {said}' if said else ''}"

    async def start(self) -> None:
        """:raises StartFailed: there is no such program, or no such folder."""
        server, around = self._server, self._surroundings
        assert server.command is not None
        names = (*INHERITED, *server.forwarded)
        env = {name: around.environ[name] for name in names if name in around.environ} | (server.env or {})
        try:
            plan = planner.plan(
                [server.command, *(server.args or ())],
                cwd=server.cwd or around.cwd,
                policy=DangerFullAccess(),
                env=env,
                output_cap=0,
                streams="split",
                stdin="pipe",
            )
            self._command = await run_with_plan(
                plan,
                self._take,
                lambda pid: identity.record(around.processes, pid),
                on_stderr=self._hear,
            )
        except (SandboxError, OSError) as error:
            raise StartFailed(str(error)) from None
        if self._command.pid is None:
            refused = await self._command.wait()
            raise StartFailed(MISSING if refused.exit_code == NOT_FOUND else NOT_EXECUTABLE)
        self._tasks = [
            asyncio.ensure_future(work) for work in (self._pass_on(), self._send(), self._await_end())
        ]

    # --- from the program ------------------------------------------------------------------------------------

    def _take(self, chunk: bytes) -> None:
        line = self._line
        line += chunk
        if b"\n" in chunk:
            *whole, rest = line.split(b"\n")
            self._line = rest
            self._lines.extend(bytes(one) for one in whole if one.strip())
            self._news.set()
        elif len(line) > LINE_LIMIT:
            line.clear()
            self._fault = f"it sent a line of more than {LINE_LIMIT >> 20} MiB"
            self._news.set()
        if (len(self._lines) > LINES_AHEAD or self._fault) and self._command is not None:
            self._command.pause()

    def _hear(self, chunk: bytes) -> None:
        self._said = (self._said + chunk)[-SAID_KEPT:]
        print(f"MCP server {self._server.name}: {chunk.decode(errors='replace').rstrip()}", flush=True)

    async def _pass_on(self) -> None:
        """Messages for the session, as fast as it takes them. What is none is dropped: the next line may be one."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while not self._fault:
                while self._lines:
                    line = self._lines.popleft()
                    try:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    except ValueError:
                        print(f"MCP server {self._server.name}: no message: {line[:200]!r}", flush=True)
                        await asyncio.sleep(0)  # a flood of rubbish must leave time for others
                    else:
                        await self._incoming.send(SessionMessage(message))
                assert self._command is not None
                if self.ended.is_set():
                    break
                self._news.clear()
                self._command.resume()
                await self._news.wait()
        self._incoming.close()
        if self._fault and self._command is not None:
            self.ended.set()  # it is of no use any more, however long its end takes
            await self._command.end(0)

    async def _await_end(self) -> None:
        assert self._command is not None
        assert self._command.pid is not None
        await self._command.wait()
        identity.forget(self._surroundings.processes, self._command.pid)
        self.ended.set()
        self._news.set()

    # --- to the program -----------------------------------------------------------------------------------------

    async def _send(self) -> None:
        assert self._command is not None
        with suppress(StdinError, anyio.ClosedResourceError):
            async for sent in self._outgoing:
                text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                self._command.write(text.encode() + b"\n")
                await self._command.eased()
        self._outgoing.close()

    async def stop(self) -> None:
        """Close its stdin, then TERM, then KILL; returns when it and all it has started are gone."""
        command = self._command
        if command is not None and command.pid is not None:
            self._fault = self.last_words
            self._stopping = True
            command.resume()
            command.close_stdin()
            await command.wait_for(QUIET_END_S)
            await command.end()
            identity.forget(self._surroundings.processes, command.pid)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for stream in (self._incoming, self.read, self.write, self._outgoing):
            stream.close()


@asynccontextmanager
async def piped(server: McpServer, surroundings: Surroundings) -> AsyncIterator[Pipe]:
    """:raises StartFailed: see `Pipe.start`."""
    pipe = Pipe(server, surroundings)
    try:
        await pipe.start()
        yield pipe
    finally:
        await asyncio.shield(asyncio.ensure_future(pipe.stop()))
