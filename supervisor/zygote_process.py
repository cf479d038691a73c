"""How a zygote comes to be: forked from the server before that is one, or as a program of its own later.

The first one shares what the server has imported by then, which halves what a start costs. Once the server has a loop, a
ZeroMQ context and clients, a fork of it would be a copy of all that; and a zygote that replaces another is to have the
code that is on disk. So every later one is a new interpreter.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import NoReturn, Protocol

from protocol.link import WIRE
from sandbox_backends import prctl
from supervisor.launcher import LaunchError

__all__ = ["Lifeline", "Zygote", "fork", "start"]

FAILED = 70
READY_TIMEOUT_S = 30.0
"""All imports take about 0.3 s; a loaded machine may need many times that."""


class Lifeline:
    """A pipe whose write end only the server holds: when it dies, however, all that read it see the end of file."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()

    def close(self) -> None:
        os.close(self.write)
        os.close(self.read)


class Process(Protocol):
    """What is wanted of a `subprocess.Popen`."""

    pid: int

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal; raises subprocess.TimeoutExpired."""


class Zygote:
    """A zygote's process and our end of the socket to it."""

    def __init__(self, process: Process, channel: socket.socket, lifeline: Lifeline) -> None:
        channel.setblocking(False)
        self.process = process
        self.channel = channel
        self.lifeline = lifeline
        self.ready: asyncio.Future[None] | None = None
        """Once it has its orders: done when it takes requests, or with the LaunchError why it never will."""
        self.gone = False
        """Whether its end was noticed: nobody but us can tell how its workers end, then."""

    def is_up(self, wire: int) -> None:
        """It has said so, and which wire its workers speak: it goes again if they could not talk to us."""
        if self.ready is None or self.ready.done():
            return
        if wire == WIRE:
            self.ready.set_result(None)
            return
        reason = f"the code on disk speaks another wire between server and workers ({wire}, not {WIRE})"
        self.ready.set_exception(LaunchError(f"{reason}: restart the server"))
        self.process.kill()

    async def until_ready(self) -> None:
        """Raises LaunchError if it does not come up."""
        assert self.ready is not None
        try:
            await asyncio.wait_for(asyncio.shield(self.ready), READY_TIMEOUT_S)
        except TimeoutError:
            raise LaunchError(f"the zygote was not ready after {READY_TIMEOUT_S:.0f} s") from None

    def end(self, timeout_s: float) -> None:
        """Wait for it, whose channel was closed, and kill it if it takes longer; blocks."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def discard(self) -> None:
        """It is not needed after all."""
        self.process.kill()
        self.process.wait()
        self.channel.close()
        self.lifeline.close()


class _Forked:
    """A child of a bare fork, with the manners of a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._code: int | None = None

    def kill(self) -> None:
        if self._code is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("zygote", timeout or 0.0)
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._fd)
        return self._code


def fork() -> Zygote:
    """Only in a process without threads, loop and ZeroMQ context."""
    lifeline = Lifeline()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.close(lifeline.write)
        _become_zygote(theirs, lifeline.read)
    theirs.close()
    return Zygote(_Forked(pid), ours, lifeline)


def _become_zygote(control: socket.socket, lifeline: int) -> NoReturn:
    code = FAILED
    try:
        os.setsid()
        if not prctl.die_with_parent(lifeline):
            os._exit(FAILED)
        # Our input is the client's, and so is our output: it would not see the server's end as long as we held it.
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        if len(os.sched_getaffinity(0)) == 1:
            # The server, for which a client waits, would only be slower.
            select.select([control], [], [])
        importlib.import_module("workers.zygote").serve(control, lifeline)
        code = 0
    except SystemExit as error:
        print(error, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - the fork must not return into the server
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def start(lifeline: Lifeline) -> Zygote:
    """A new interpreter; raises LaunchError."""
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        raise LaunchError(f"no socket to the zygote: {error}") from error
    argv = [
        sys.executable,
        # Not the current directory first: it is the project's, which may have a `workers` or a `secrets.py`.
        "-P",
        "-m",
        "workers",
        str(theirs.fileno()),
        str(lifeline.read),
    ]
    with theirs:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                # Standard output is the protocol's: whatever a worker prints by mistake must not get there.
                stdout=2,
                pass_fds=(theirs.fileno(), lifeline.read),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise LaunchError(f"the zygote cannot be started: {error}") from error
    return Zygote(process, ours, lifeline)
