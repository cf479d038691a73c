"""A running command: its output, its input, its end.

The end is noticed through a pidfd and nothing here blocks the loop. Use it from the loop's thread, which must be the
one that lives as long as the process: a sandbox dies with the *thread* that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable

from sandbox_backends.backend import Backend, Launch
from sandbox_backends.denial import TAIL, detect
from sandbox_backends.errors import LaunchError, StdinError
from sandbox_backends.ghosts import Ghosts
from sandbox_backends.limits import Cgroup, gate
from sandbox_backends.output import HeadTail
from sandbox_backends.plan import ExecPlan
from sandbox_backends.planner import find_program
from sandbox_backends.result import ExecResult, Outcome
from sandbox_backends.spawn import Spawned, spawn
from sandbox_backends.streams import Feed, Reader
from sandbox_backends.terminal import resize
from sandbox_backends.tree import Family, Process
from sandbox_backends.view import verify
from sandbox_backends.yielding import Yielding

__all__ = ["DEFAULT_GRACE_S", "NOT_FOUND", "RunningCommand", "Sink"]

Sink = Callable[[bytes], None]

DRAIN_S = 2.0
"""How long output is awaited after the end, when something else still holds the pipe. The peer waits as long."""
DEFAULT_GRACE_S = 0.5
"""Between TERM and KILL."""
TIMEOUT_CODE = 124
NOT_EXECUTABLE, NOT_FOUND = 126, 127
EXEC_ERRORS = frozenset(
    (
        errno.E2BIG,
        errno.EACCES,
        errno.ELOOP,
        errno.ENOENT,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.ETXTBSY,
    )
)
"""What the kernel says of a program it will not run; anything else is the machine's trouble."""


class RunningCommand:
    """A command that was started; `run_with_plan` makes it.

    Keep it as long as its descendants are to be findable: `end` works after the command's own end too.
    """

    def __init__(self, plan: ExecPlan, on_output: Sink | None = None, on_stderr: Sink | None = None) -> None:
        self.plan = plan
        self.pid: int | None = None
        """None if the program was not there to be started."""
        self._on_output = on_output
        self._on_stderr = on_stderr
        self._output = HeadTail(plan.output_cap, plan.output_keep)
        self._stderr = HeadTail(plan.output_cap, plan.output_keep) if plan.streams == "split" else None
        self._said = HeadTail(2 * TAIL)
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[ExecResult] = self._loop.create_future()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._readers: list[Reader] = []
        self._feed: Feed | None = None
        self._child: Spawned | None = None
        self._family: Family | None = None
        self._yielding: Yielding | None = None
        self._sheath = 0
        self._ghosts = Ghosts()
        self._cgroup: Cgroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop_reaping: Callable[[], None] | None = None
        self._ended = False
        self._timed_out = False
        self._began = time.monotonic()

    @property
    def done(self) -> bool:
        return self._done.done()

    @property
    def exited(self) -> bool:
        """Whether the program has ended; some of its output may still come."""
        return self._exited.done()

    def pause(self) -> None:
        """Read no more output, so that the command has to wait with it.

        Its end is noticed all the same, and what it left in the pipe is then read for at most `DRAIN_S` seconds.
        """
        for reader in self._readers:
            reader.pause()

    def resume(self) -> None:
        for reader in self._readers:
            reader.resume()

    async def wait(self) -> ExecResult:
        """Return the result. Cancelling this ends the command and all it started, then raises CancelledError."""
        try:
            return await asyncio.shield(self._done)
        except asyncio.CancelledError:
            if not self._done.done():
                self._ended = True
                await asyncio.shield(self._loop.create_task(self._kill()))
                await asyncio.shield(self._done)
            raise

    async def wait_for(self, seconds: float) -> bool:
        """Wait at most so long; whether it ended. Neither the time nor a cancellation touches the command."""
        await asyncio.wait((self._done,), timeout=seconds)
        return self._done.done()

    def write(self, data: bytes) -> None:
        """Send bytes to stdin, without waiting. Raises StdinError if there is none, or it is closed or flooded."""
        if self._feed is None:
            raise StdinError("stdin is closed")
        self._feed.write(data)

    async def eased(self) -> None:
        """Wait until the command has read most of what was written."""
        if self._feed is not None:
            await self._feed.eased()

    def close_stdin(self) -> None:
        """End the input after what was written (^D on a terminal)."""
        if self._feed is not None:
            self._feed.end()

    def resize(self, rows: int, cols: int) -> None:
        """Set the terminal's size. Raises StdinError if the command has no terminal."""
        if self.plan.stdin != "pty":
            raise StdinError("this command has no terminal")
        if self._feed is not None and self._feed.fd >= 0:
            resize(self._feed.fd, (rows, cols))

    async def end(self, grace_s: float = DEFAULT_GRACE_S) -> ExecResult:
        """TERM, at most `grace_s` seconds, KILL, for all that descends from the command; returns when all is gone.

        After the command's own end this still ends what outlived it.
        """
        family = self._family
        if family is None:
            return await asyncio.shield(self._done)
        if not self._exited.done():
            self._ended = True
        if grace_s > 0 and family.alive():
            if self.plan.stdin == "pty":
                family.signal(signal.SIGHUP, sheath=self._sheath)  # an interactive shell ignores TERM
            family.signal(signal.SIGTERM, sheath=self._sheath)
            family.signal(signal.SIGCONT, sheath=self._sheath)  # a stopped process cannot answer
            await family.gone(grace_s)
        await self._kill()
        result = await asyncio.shield(self._done)
        if self._stop_reaping is not None:
            self._stop_reaping()
            self._stop_reaping = None
        return result

    async def start(self, backend: Backend) -> None:
        """Start it, once. Raises RootReplacedError and LaunchError; a program that is not there is a result."""
        name = self.plan.argv[0]
        program = find_program(name, self.plan.cwd, self.plan.env)
        if program is None or not os.path.exists(program):
            text = os.strerror(errno.ENOENT) if "/" in name else "command not found"
            self._refuse(NOT_FOUND, text)
            return
        if os.path.isdir(program) or not os.access(program, os.X_OK):
            self._refuse(
                NOT_EXECUTABLE, os.strerror(errno.EISDIR if os.path.isdir(program) else errno.EACCES)
            )
            return
        launch = backend.build(self.plan)
        try:
            if self.plan.cgroup is not None:
                self._cgroup = Cgroup(self.plan.limits, self.plan.cgroup)
                launch.argv = (*gate(), *launch.argv)
            # Before our own mkdir in the roots, and again after: it may have had to wait.
            verify(self.plan.view)
            await self._ghosts.hold(launch.ghosts)
            verify(self.plan.view)
            child = spawn(self.plan, launch, self._cgroup)
        except BaseException as error:
            self._ghosts.release()
            launch.close()
            if self._cgroup is not None:
                self._cgroup.remove()
            cause = error.__cause__
            if (
                isinstance(error, LaunchError)
                and isinstance(cause, OSError)
                and cause.errno in EXEC_ERRORS
                and cause.filename == launch.argv[0]
            ):
                self._refuse(
                    NOT_FOUND if cause.errno == errno.ENOENT else NOT_EXECUTABLE, cause.strerror or ""
                )
                return
            raise
        # No await from here to the task: nothing may come between a process and its owner.
        self._adopt(child, launch)
        self._task = self._loop.create_task(self._supervise(child, backend, launch))

    def _refuse(self, code: int, text: str) -> None:
        """Finish without having started anything, in the shape of a shell that could not."""
        data = f"{self.plan.argv[0]}: {text}\n".encode("utf-8", "replace")
        (self._take_output if self._stderr is None else self._take_stderr)(data)
        self._done.set_result(
            ExecResult(
                exit_code=code,
                started=False,
                output=self._output.captured(),
                stderr=self._stderr.captured() if self._stderr else None,
            )
        )

    def _adopt(self, child: Spawned, launch: Launch) -> None:
        self._child = child
        self._sheath = launch.sheath
        self.pid = child.process.pid
        self._family = Family(self.pid, child.mark, confined=launch.confinement is not None)
        self._yielding = Yielding(self._family)
        self._loop.add_reader(child.pidfd, self._on_exit)
        self._readers.append(Reader(child.output, self._take_output))
        if child.stderr is not None:
            self._readers.append(Reader(child.stderr, self._take_stderr))
        if child.feed is not None:
            self._feed = Feed(child.feed, terminal=self.plan.stdin == "pty")

    def _take_output(self, chunk: bytes) -> None:
        self._output.push(chunk)
        if self._stderr is None:
            self._said.push(chunk)
        if self._on_output is not None:
            self._on_output(chunk)

    def _take_stderr(self, chunk: bytes) -> None:
        if self._stderr is not None:
            self._stderr.push(chunk)
        self._said.push(chunk)
        if self._on_stderr is not None:
            self._on_stderr(chunk)

    def _on_exit(self) -> None:
        assert self._child is not None
        if self._child.process.poll() is not None:
            self._close_pidfd()
            if not self._exited.done():
                self._exited.set_result(None)

    def _close_pidfd(self) -> None:
        if self._child is not None and self._child.pidfd >= 0:
            fd, self._child.pidfd = self._child.pidfd, -1
            if not self._loop.is_closed():
                self._loop.remove_reader(fd)
            os.close(fd)

    async def _kill(self) -> None:
        if self._family is None:
            return
        if self._cgroup is not None:
            self._cgroup.kill()
        if await self._family.kill() and not self._exited.done():
            # It sleeps in the kernel and dies when it wakes. Nobody shall wait for that.
            self._exited.set_result(None)

    async def _supervise(self, child: Spawned, backend: Backend, launch: Launch) -> None:
        try:
            timeout_ms = self.plan.timeout_ms
            await asyncio.wait((self._exited,), timeout=None if timeout_ms is None else timeout_ms / 1000)
            if not self._exited.done():
                self._timed_out = True
                await self._kill()
                await self._exited
            self.resume()
            await asyncio.wait([reader.ended for reader in self._readers], timeout=DRAIN_S)
            said = self._said.last(TAIL).decode("utf-8", "replace")
            code = child.process.returncode
            outcome = backend.outcome(
                self.plan, -signal.SIGKILL if code is None else code, launch.report(), said
            )
            assert self._family is not None
            if outcome.companions:
                for pid in outcome.companions:
                    self._family.adopt(pid)
                await self._family.gone(DRAIN_S)
            running = await self._family.survey()
            restored: tuple[str, ...] = ()
            if launch.confinement is not None:
                # No namespace ends what is left, and a guard may only work on what nobody changes any more.
                running = await self._family.kill() if running else running
                self._family.disband()
                restored = launch.guard.restore() if launch.guard is not None else ()
            self._close()
            self._done.set_result(self._result(outcome, said, running, restored))
        except BaseException as error:
            # The loop is being taken down. What runs must not outlive it.
            if self._family is not None:
                with contextlib.suppress(OSError):
                    self._family.kill_now()
            child.process.kill()
            child.process.wait()
            if not self._done.done():
                if isinstance(error, asyncio.CancelledError):
                    self._done.cancel()
                else:
                    self._done.set_exception(error)
            raise
        finally:
            if self._family is not None:
                self._family.disband()
            self._close()
            launch.close()

    def _close(self) -> None:
        """Let go of every descriptor and ghost: the last process that could need them is gone."""
        self._close_pidfd()
        if self._yielding is not None:
            self._yielding.stop()
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        for reader in self._readers:
            reader.close()
        self._ghosts.release()
        if self._cgroup is not None:
            self._cgroup.remove()

    def _result(
        self, outcome: Outcome, said: str, running: list[Process], restored: tuple[str, ...]
    ) -> ExecResult:
        assert self._family is not None
        stopped = self._timed_out or self._ended
        if running:
            self._stop_reaping = self._family.reap_later(running)
        judged = outcome.started and not stopped
        return ExecResult(
            exit_code=TIMEOUT_CODE if self._timed_out else outcome.exit_code,
            output=self._output.captured(),
            stderr=self._stderr.captured() if self._stderr is not None else None,
            started=outcome.started or stopped,
            signal=outcome.signal,
            timed_out=self._timed_out,
            ended=self._ended,
            setup_failed=None if stopped else outcome.setup_failed,
            denial=detect(self.plan, outcome.exit_code, said) if judged else None,
            duration_ms=round(1000 * (time.monotonic() - self._began)),
            survivors=tuple(process.pid for process in running),
            restored=restored,
        )
