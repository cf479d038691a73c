"""The launcher that forks workers from a preloaded zygote on this machine.

The zygote is a process of its own (`workers.zygote`): it imports everything once, plays one throw-away turn, freezes
the garbage collector and forks on request, so a worker costs about 3 ms and shares its memory. We talk to it over a
SEQPACKET socket pair; a pidfd of each child comes over the same socket. When it dies, its workers live on (they
become our children, since we are a subreaper) and a new one is started for the next launch.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import secrets
import signal
import socket
from collections import deque
from contextlib import suppress

import msgspec

from sandbox_backends import identity, tree
from supervisor import zygote_process
from supervisor.exits import exit_of, reaped, wait_for_ends
from supervisor.launcher import Exit, LauncherLost, LaunchError
from supervisor.strays import Strays
from supervisor.zygote_handle import ZygoteHandle
from supervisor.zygote_process import Zygote
from workers.stacks import drop_empty

__all__ = ["ZygoteLauncher", "ZygoteSpec"]

log = logging.getLogger("bulkhead.zygote")

STATUS_GRACE_S = 1.0
"""How long after the end of a process its exit status may still be on its way from the zygote, which takes a millisecond
as a rule; without it nobody could say what the worker died of."""
RENEW_LOOK_S = 0.005
CLOSE_TIMEOUT_S = 2.0
"""What has been killed is gone within milliseconds."""
MESSAGE_BYTES = 65536


class ZygoteSpec(msgspec.Struct, kw_only=True):
    """What the zygote must know to make a worker; the first message to it, as JSON."""

    endpoint: str
    stacks: str
    """Folder for the stack dumps that SIGUSR1 asks for."""
    processes: str = ""
    """Folder in which every process writes itself down (`sandbox_backends.identity`)."""
    nice: int = 10
    """A raised niceness keeps the front's loop responsive when all workers compute (438 ms -> 2 ms at p99)."""
    mcp: bool = False
    """Whether to import what MCP servers need, so that workers share it."""


class ToZygote(msgspec.Struct):
    fork: list[str] = []


class FromZygote(msgspec.Struct, omit_defaults=True):
    ready: int = 0
    wire: int = 0
    born: str = ""
    pid: int = 0
    exited: int = 0
    status: int = 0
    max_rss_kib: int = 0
    failed: str = ""


_decode = msgspec.json.Decoder(FromZygote).decode
_encode = msgspec.json.Encoder().encode


class ZygoteLauncher:
    """Starts the zygote at need, asks it for children, and reports their ends."""

    def __init__(self, spec: ZygoteSpec, first: Zygote) -> None:
        self._spec = spec
        self._loop = asyncio.get_running_loop()
        self._lifeline = first.lifeline
        self._first: Zygote | None = first
        """Not told yet what it is for."""
        self._zygote: Zygote | None = None
        self._successor: Zygote | None = None
        """The next one, while it gets ready."""
        self._renewing = asyncio.Lock()
        self._handles: dict[str, ZygoteHandle] = {}
        self._by_pid: dict[int, ZygoteHandle] = {}
        self._closing = False
        self._strays = Strays(self._kin)

    @property
    def pid(self) -> int | None:
        return self._zygote.process.pid if self._zygote else None

    def start(self) -> None:
        """Start the zygote in the background; launches wait for it."""
        if self._closing:
            raise LaunchError("the server is shutting down")
        zygote, self._first = self._first or zygote_process.start(self._lifeline), None
        self._zygote = self._ordered(zygote)

    def _ordered(self, zygote: Zygote) -> Zygote:
        """Tell it what it is for."""
        zygote.ready = self._loop.create_future()
        zygote.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        # A zygote that has ended already is noticed by the reader.
        with suppress(OSError):
            zygote.channel.send(_encode(self._spec))
        self._loop.add_reader(zygote.channel.fileno(), self._receive, zygote)
        return zygote

    async def renew(self) -> None:
        """Make the next workers from a new zygote, e.g. with other code; living workers stay.

        The new one serves before the old one goes. Returns when that is gone: a worker that ends while it dies may end
        without a status.

        Raises:
            LaunchError: the new one does not come up; nothing has changed.
        """
        async with self._renewing:
            if self._closing:
                raise LaunchError("the server is shutting down")
            successor = self._successor = self._ordered(zygote_process.start(self._lifeline))
            try:
                await successor.until_ready()
                old, self._zygote = self._zygote, successor
            except (LaunchError, asyncio.CancelledError):
                successor.process.kill()
                raise
            finally:
                self._successor = None
            if old is not None:
                old.process.kill()
                while not old.gone:  # noqa: ASYNC110  (milliseconds, and rare)
                    await asyncio.sleep(RENEW_LOOK_S)

    def _kin(self) -> set[int]:
        """Children that are no strays."""
        zygotes = {zygote.process.pid for zygote in (self._zygote, self._successor) if zygote is not None}
        return {*zygotes, *self._by_pid}

    async def launch(self) -> ZygoteHandle:
        return (await self.launch_many(1))[0]

    async def launch_many(self, count: int) -> list[ZygoteHandle]:
        """Ask for several children in one go; their handles have no pid yet (see `ZygoteHandle.born`)."""
        if self._zygote is None:
            self.start()
        assert self._zygote is not None
        await self._zygote.until_ready()
        parent = self._zygote
        if parent is None:  # it ended between its word and our turn
            raise LauncherLost("the zygote ended")
        handles = [ZygoteHandle(secrets.token_bytes(16), parent, self._loop) for _ in range(count)]
        tokens = [handle.token.hex() for handle in handles]
        self._handles.update(zip(tokens, handles, strict=True))
        try:
            await self._loop.sock_sendall(parent.channel, _encode(ToZygote(fork=tokens)))
        except OSError as error:
            for token in tokens:
                self._handles.pop(token, None)
            raise LauncherLost(f"the zygote does not take requests: {error}") from error
        return handles

    # --- what the zygote tells us -------------------------------------------------------------------

    def _receive(self, zygote: Zygote) -> None:
        while True:
            try:
                data, ancillary, _, _ = zygote.channel.recvmsg(
                    MESSAGE_BYTES, socket.CMSG_SPACE(4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError:
                data, ancillary = b"", []
            if not data:
                self._lost(zygote)
                return
            fds = array.array("i")
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
            self._message(zygote, _decode(data), fds[0] if fds else -1)

    def _message(self, zygote: Zygote, message: FromZygote, fd: int) -> None:
        if message.ready:
            zygote.is_up(message.wire)
        elif message.born:
            handle = self._handles.pop(message.born)
            failed = message.failed
            if not failed and fd < 0:
                # The kernel drops a descriptor in transit when we have none free, but we may have one by now.
                try:
                    fd = os.pidfd_open(message.pid)
                except OSError as error:
                    failed = f"no descriptor to watch the worker by: {error}"
                    with suppress(ProcessLookupError):
                        os.kill(message.pid, signal.SIGKILL)
            if failed:
                handle.born.set_exception(LaunchError(failed))
                handle.born.exception()
                handle.exited.set_result(Exit())
                return
            handle.pid, handle.pidfd = message.pid, fd
            self._by_pid[message.pid] = handle
            handle.born.set_result(message.pid)
            self._loop.add_reader(fd, self._ended, handle)
        elif message.exited:
            ended = self._by_pid.get(message.exited)
            if ended is not None:
                self._finish(ended, exit_of(message.status, message.max_rss_kib))

    def _ended(self, handle: ZygoteHandle) -> None:
        """The pidfd is readable: the process has ended, and its status is on the way."""
        self._loop.remove_reader(handle.pidfd)
        if handle.exited.done():
            return
        status = tree.exit_status(handle.pid) if handle.unreaped else 0
        if handle.parent.gone:
            self._take_status(handle)
        if status:
            # The zygote may be busy with births, and somebody waits for the word on this death.
            self._finish(handle, exit_of(status))
        elif not handle.parent.gone:
            self._loop.call_later(STATUS_GRACE_S, self._finish_without_word, handle)

    def _take_status(self, handle: ZygoteHandle) -> None:
        """Reap an orphan, which is our child now, in a thread of the pool: the kernel may take some 10 ms."""
        try:
            fd = os.dup(handle.pidfd)
        except OSError:  # no descriptor left
            self._finish_without_word(handle)
            return

        def take() -> Exit:
            try:
                return reaped(fd) or Exit()
            finally:
                os.close(fd)
                identity.forget(self._spec.processes, handle.pid)
                drop_empty(self._spec.stacks, handle.pid)

        taken = self._loop.run_in_executor(None, take)
        taken.add_done_callback(lambda done: self._finish(handle, done.result()))
        self._strays.end_soon()

    def _finish_without_word(self, handle: ZygoteHandle) -> None:
        # Its zygote may have died with it, a moment before we knew.
        if not handle.exited.done():
            self._finish(handle, reaped(handle.pidfd) or Exit())

    def _finish(self, handle: ZygoteHandle, status: Exit) -> None:
        if handle.exited.done():
            return
        self._by_pid.pop(handle.pid, None)
        self._loop.remove_reader(handle.pidfd)
        os.close(handle.pidfd)
        handle.pidfd = -1
        handle.exited.set_result(status)

    def _lost(self, zygote: Zygote) -> None:
        self._loop.remove_reader(zygote.channel.fileno())
        zygote.channel.close()
        zygote.gone = True
        current = zygote is self._zygote
        if current:
            self._zygote = None
        code = zygote.process.wait()
        identity.forget(self._spec.processes, zygote.process.pid)
        self._end_births(zygote)
        assert zygote.ready is not None
        if not zygote.ready.done():
            zygote.ready.set_exception(LauncherLost(f"the zygote failed to start (status {code})"))
        if self._closing or zygote.ready.exception() is not None:
            return
        self._strays.end()
        if current:
            log.warning("the zygote ended (status %s); its workers live on, a new one is started", code)
            with suppress(LaunchError):  # the next launch tries again, and tells who waits for it
                self.start()

    def _end_births(self, zygote: Zygote) -> None:
        """What was asked of it and not told will not come."""
        unborn = {token: handle for token, handle in self._handles.items() if handle.parent is zygote}
        for token, handle in unborn.items():
            del self._handles[token]
            handle.born.set_exception(LauncherLost("the zygote ended"))
            handle.born.exception()
            handle.exited.set_result(Exit())

    # --- the end -----------------------------------------------------------------------------------

    async def close(self) -> None:
        self._closing = True
        waiting = deque(self._by_pid.values())
        for handle in waiting:
            handle.signal(signal.SIGKILL)
        # The zygote sees the end of file and ends what is left, orphans of its workers included.
        zygotes = [zygote for zygote in (self._zygote or self._first, self._successor) if zygote is not None]
        for zygote in zygotes:
            self._loop.remove_reader(zygote.channel.fileno())
            zygote.channel.close()
            if zygote.ready is not None and not zygote.ready.done():
                zygote.ready.set_exception(LaunchError("the server is shutting down"))
        self._lifeline.close()
        for zygote in zygotes:
            await self._loop.run_in_executor(None, zygote.end, CLOSE_TIMEOUT_S)
        # Those whose zygote had died are not waited for by the present one.
        pidfds = [handle.pidfd for handle in waiting if handle.pidfd >= 0]
        await self._loop.run_in_executor(None, wait_for_ends, pidfds, CLOSE_TIMEOUT_S)
        self._strays.end(rounds=0)
        for handle in waiting:
            self._finish(handle, Exit(signal=signal.SIGKILL))
