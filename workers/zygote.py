"""The zygote: imports everything, plays one throw-away turn, then forks workers on request.

Forked from a server that is about to start, or run by `workers/__main__.py`; the server's death is its own from the start.
It is single-threaded and holds no ZeroMQ context and no event loop when it forks. It is the parent of all workers and a
subreaper: what a dead worker's commands left behind becomes a child of the zygote, and a child that is no worker is such
an orphan, whatever its pid or name.
"""

from __future__ import annotations

import array
import gc
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress

import msgspec

from protocol.link import WIRE
from sandbox_backends import identity, prctl, scheduling, tree
from workers import process, warm
from workers.mcp.servers import import_client
from workers.stacks import drop_empty

__all__ = ["main", "serve"]

_encode = msgspec.json.Encoder().encode
_READ_BYTES = 65536
ORPHAN_ROUNDS = 100
"""How often orphans are looked for before giving up: each round ends a generation of forks."""


class Spec(msgspec.Struct, kw_only=True):
    endpoint: str
    stacks: str
    processes: str = ""
    nice: int = 10
    mcp: bool = False
    """Whether threads will have MCP servers, as far as the configuration tells."""


class Fork(msgspec.Struct):
    fork: list[str] = []


class Zygote:
    def __init__(self, control: socket.socket, lifeline: int, spec: Spec) -> None:
        self._control = control
        self._lifeline = lifeline
        self._spec = spec
        self._workers: set[int] = set()
        self._complete = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def run(self) -> None:
        scheduling.be_prompt()
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._tell(ready=os.getpid(), wire=WIRE)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake_read in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake_read, _READ_BYTES)
                self._reap()
            if self._control.fileno() in ready:
                try:
                    request = self._control.recv(_READ_BYTES)
                except ConnectionResetError:
                    request = b""  # it ended with messages of ours unread
                if not request:
                    self._end_everything()
                    return
                for token in msgspec.json.decode(request, type=Fork).fork:
                    self._fork(token)
                    self._reap()  # a death is told before the next birth, however many were asked for
                    if self._spec.mcp and not self._complete:
                        # The first one has to import it itself then; all others share it.
                        self._finish()
                if not self._complete:
                    self._finish()

    def _finish(self) -> None:
        """Get ready what the first thread should not wait for, as its first turn may not need it."""
        warm.certificates()
        if self._spec.mcp:
            import_client()
        gc.freeze()
        self._complete = True

    def _tell(self, fd: int | None = None, **message: object) -> None:
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        # The front is gone: the end of file comes next.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._control.sendmsg([_encode(message)], rights)

    def _fork(self, token: str) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(born=token, failed=f"fork: {error}")
            return
        if pid == 0:
            self._become_worker(bytes.fromhex(token))
        self._workers.add(pid)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor left here: the front may have one
            self._tell(born=token, pid=pid)
            return
        self._tell(pidfd, born=token, pid=pid)
        os.close(pidfd)

    def _become_worker(self, token: bytes) -> None:
        code = process.STARTUP_FAILURE
        try:
            identity.record(self._spec.processes, os.getpid())
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._control.close()
            code = process.run(token, self._spec.endpoint, self._lifeline, self._spec.stacks, self._spec.nice)
        except BaseException:  # noqa: BLE001 - the fork must not return into the zygote
            sys.excepthook(*sys.exc_info())  # to stderr; the front tells the clients
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        """Tell of every worker that ended, then end what it left.

        Nobody waits here for what was left to be gone: its own end brings us here again, for what it left in turn.
        """
        reaped: list[int] = []
        with suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    break
                reaped.append(pid)
                if pid in self._workers:
                    self._workers.discard(pid)
                    self._tell(exited=pid, status=status, max_rss_kib=usage.ru_maxrss)
        if reaped:
            self._kill_orphans()
        for pid in reaped:
            # Last: a file system may take its time.
            identity.forget(self._spec.processes, pid)
            drop_empty(self._spec.stacks, pid)

    def _kill_orphans(self) -> list[int]:
        """Kill every child of ours that is no worker; who they are."""
        orphans = [pid for pid in tree.children(os.getpid()) if pid not in self._workers]
        for pid in orphans:
            # Not reaped by anybody but us, so the number is still this child's.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return orphans

    def _end_orphans(self) -> None:
        """End what dead workers left, and return when it is gone."""
        for _ in range(ORPHAN_ROUNDS):
            orphans = self._kill_orphans()
            if not orphans:
                return
            for pid in orphans:
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _end_everything(self) -> None:
        """The front is gone: nothing of it may stay."""
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._workers.clear()
        self._end_orphans()


def serve(control: socket.socket, lifeline: int) -> None:
    """The life of a zygote: its orders are the first message on `control`, a SEQPACKET socket. Returns when that ends."""
    control.setblocking(True)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the front's to handle; see `workers.process`
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold credentials
    prctl.set_name("bulkhead-zygote")
    prctl.become_subreaper()
    gc.freeze()  # what was imported stays: no need to look at it in the collection below
    warm.play()
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    if threads != 1:
        raise SystemExit(f"the zygote has {threads} threads; a fork would break the others")
    gc.collect()
    gc.freeze()
    gc.enable()
    orders = control.recv(_READ_BYTES)
    if not orders:
        return  # the front found out that it cannot serve
    spec = msgspec.json.decode(orders, type=Spec)
    identity.record(spec.processes, os.getpid())
    # From here on the end of the socket tells of the server's end, and there will be workers to be ended first.
    prctl.outlive_parent()
    Zygote(control, lifeline, spec).run()


def main(control_fd: int, lifeline: int) -> None:
    """`serve` in an interpreter of its own."""
    control = socket.socket(fileno=control_fd)
    os.set_inheritable(control.fileno(), False)
    os.set_inheritable(lifeline, False)
    serve(control, lifeline)
