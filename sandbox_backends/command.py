"""A running command: its output, its input, its end.

The end is noticed through a pidfd and nothing here blocks the loop. Use it from the loop's thread, which must be the
one that lives as long as the process: a sandbox dies with the *thread* that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable

from sandbox_backends.backend import Backend, Launch
from sandbox_backends.denial import detect
from sandbox_backends.errors import StdinError
from sandbox_backends.family import Family
from sandbox_backends.launching import Launched, NotRunnable, launch
from sandbox_backends.plan import ExecPlan
from sandbox_backends.result import NOT_FOUND, ExecResult, Outcome
from sandbox_backends.spawn import Spawned
from sandbox_backends.streams import Feed, Reader
from sandbox_backends.terminal import resize
from sandbox_backends.transcript import Sink, Transcript
from sandbox_backends.tree import Process
from sandbox_backends.yielding import Yielding

__all__ = ["DEFAULT_GRACE_S", "NOT_FOUND", "RunningCommand", "Sink"]

DRAIN_S = 2.0
"""How long output is awaited after the end, when something else still holds the pipe. The peer waits as long."""
DEFAULT_GRACE_S = 0.5
"""Between TERM and KILL."""
TIMEOUT_CODE = 124


class RunningCommand:
    """A command that was started; `run_with_plan` makes it.

    Keep it as long as its descendants are to be findable: `end` works after the command's own end too.
    """

    def __init__(self, plan: ExecPlan, on_output: Sink | None = None, on_stderr: Sink | None = None) -> None:
        self.plan = plan
        self.pid: int | None = None
        """None if the program was not there to be started."""
        self._transcript = Transcript(plan, on_output, on_stderr)
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[ExecResult] = self._loop.create_future()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._readers: list[Reader] = []
        self._feed: Feed | None = None
        self._launched: Launched | None = None
        self._family: Family | None = None
        self._yielding: Yielding | None = None
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
        sheath = self._launched.launch.sheath if self._launched is not None else 0
        if grace_s > 0 and family.alive():
            if self.plan.stdin == "pty":
                family.signal(signal.SIGHUP, sheath=sheath)  # an interactive shell ignores TERM
            family.signal(signal.SIGTERM, sheath=sheath)
            family.signal(signal.SIGCONT, sheath=sheath)  # a stopped process cannot answer
            await family.gone(grace_s)
        await self._kill()
        result = await asyncio.shield(self._done)
        if self._stop_reaping is not None:
            self._stop_reaping()
            self._stop_reaping = None
        return result

    async def start(self, backend: Backend) -> None:
        """Start it, once. Raises RootReplacedError and LaunchError; a program that is not there is a result."""
        launched = await launch(self.plan, backend)
        if isinstance(launched, NotRunnable):
            self._refuse(launched)
            return
        # No await from here to the task: nothing may come between a process and its owner.
        self._adopt(launched)
        self._task = self._loop.create_task(self._supervise(launched.child, backend, launched.launch))

    def _refuse(self, reason: NotRunnable) -> None:
        """Finish without having started anything."""
        self._transcript.complain(f"{self.plan.argv[0]}: {reason.text}\n")
        self._done.set_result(
            ExecResult(
                exit_code=reason.exit_code,
                started=False,
                output=self._transcript.output,
                stderr=self._transcript.stderr,
            )
        )

    def _adopt(self, launched: Launched) -> None:
        self._launched = launched
        child = launched.child
        self.pid = child.process.pid
        self._family = Family(self.pid, child.mark, confined=launched.launch.confinement is not None)
        self._yielding = Yielding(self._family)
        self._loop.add_reader(child.pidfd, self._on_exit)
        self._readers.append(Reader(child.output, self._transcript.take_output))
        if child.stderr is not None:
            self._readers.append(Reader(child.stderr, self._transcript.take_stderr))
        if child.feed is not None:
            self._feed = Feed(child.feed, terminal=self.plan.stdin == "pty")

    def _on_exit(self) -> None:
        assert self._launched is not None
        if self._launched.child.process.poll() is not None:
            self._close_pidfd()
            if not self._exited.done():
                self._exited.set_result(None)

    def _close_pidfd(self) -> None:
        child = self._launched.child if self._launched is not None else None
        if child is not None and child.pidfd >= 0:
            fd, child.pidfd = child.pidfd, -1
            if not self._loop.is_closed():
                self._loop.remove_reader(fd)
            os.close(fd)

    async def _kill(self) -> None:
        if self._family is None:
            return
        if self._launched is not None and self._launched.cgroup is not None:
            self._launched.cgroup.kill()
        if await self._family.kill() and not self._exited.done():
            # It sleeps in the kernel and dies when it wakes. Nobody shall wait for that.
            self._exited.set_result(None)

    async def _supervise(self, child: Spawned, backend: Backend, launch: Launch) -> None:
        try:
            timeout_ms = self.plan.timeout_ms
            if timeout_ms is None:
                await self._exited
            else:
                await asyncio.wait((self._exited,), timeout=timeout_ms / 1000)
            if not self._exited.done():
                self._timed_out = True
                await self._kill()
                await self._exited
            self.resume()
            open_ends = [reader.ended for reader in self._readers if not reader.ended.done()]
            if open_ends:
                await asyncio.wait(open_ends, timeout=DRAIN_S)
            said = self._transcript.said()
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
        if self._launched is not None:
            self._launched.release()

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
            output=self._transcript.output,
            stderr=self._transcript.stderr,
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
