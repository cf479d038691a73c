"""What happens at the death of a worker, and comes before any birth.

What it said is delivered to the last word, and what it cannot say any more is said for it. Nothing of this waits for a
new worker, for what others say, or for a disk to be flushed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from rollouts.errors import RolloutError
from sandbox_backends.scheduling import be_prompt
from supervisor import obituary
from supervisor.broker import Broker
from supervisor.hub import Hub
from supervisor.journal import Journal
from supervisor.launcher import Exit
from supervisor.loaded import Incarnation, LoadedThread, Turn
from supervisor.metrics import Metrics
from supervisor.oom import OomWatch
from supervisor.relay import Relay
from supervisor.runtime import RuntimeDirectory
from supervisor.states import End, EndKind, State
from supervisor.thread_logs import ThreadLogs
from workers.stacks import drop_empty

__all__ = ["Burials"]

log = logging.getLogger("bulkhead.burials")

CLERKS = 4
"""Threads of their own for what is stored of the dead: the loop's others may all be busy with somebody's figures."""
AT_ONCE_BYTES = 512 * 1024
"""A log of this size is read in the loop: it was written a moment ago, so it is in memory, and handing it to a thread
and back takes longer. Most are smaller (`workers.eventlog`)."""


class Burials:
    """`after` gets the thread and the end of its worker when everybody has been told."""

    def __init__(
        self,
        hub: Hub,
        broker: Broker,
        relay: Relay,
        *,
        runtime: RuntimeDirectory,
        logs: ThreadLogs,
        journal: Journal,
        metrics: Metrics,
        after: Callable[[LoadedThread, End], None],
    ) -> None:
        self._hub = hub
        self._broker = broker
        self._relay = relay
        self._runtime = runtime
        self._logs = logs
        self._journal = journal
        self._metrics = metrics
        self._after = after
        self.oom = OomWatch()
        self._loop = asyncio.get_running_loop()
        # As prompt as the loop that waits for them: the kernel hands down nothing of that to new threads.
        self._clerks = ThreadPoolExecutor(CLERKS, "burial", initializer=be_prompt)
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, incarnation: Incarnation, exit_: Exit) -> None:
        """A worker has ended. What is still on the way from it is in its log, so nobody need take it first."""
        noticed = time.monotonic()
        self._hub.detach(incarnation.handle.token)
        self._broker.forget(incarnation.handle.token)
        thread = incarnation.thread
        end = incarnation.ended(exit_)
        if end.kind is EndKind.CRASHED and exit_.signal == signal.SIGKILL and self.oom.struck():
            end = msgspec.structs.replace(end, kind=EndKind.OOM_KILLED)
        thread.incarnation = None
        thread.last_end = end
        thread.move(State.DEAD)
        rest = self._short_rest(incarnation.log_path)
        if rest is not None:
            # At once: each round of a loaded loop that this waits for costs the client milliseconds.
            end = self._deliver(incarnation, end, rest)
        task = asyncio.ensure_future(self._bury(incarnation, end, noticed, delivered=rest is not None))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def finish(self) -> None:
        """Wait for those under way."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))
        self._clerks.shutdown(wait=False)

    def _short_rest(self, path: str) -> bytes | None:
        """The event log of an incarnation, unless it is long."""
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read() if os.fstat(file.fileno()).st_size <= AT_ONCE_BYTES else None
        except FileNotFoundError:
            return b""
        except OSError as error:  # without a descriptor, say: the turn must end all the same
            log.error("event log %s cannot be read: %s", path, error)  # noqa: TRY400 - the error says it all
            return b""

    def _deliver(self, incarnation: Incarnation, end: End, rest: bytes) -> End:
        """Pass on what clients have not heard of the event log; the end with all that is known of it."""
        thread = incarnation.thread
        started = bool(incarnation.received or rest)
        end = thread.last_end = obituary.with_last_line(end, self._logs.path(thread.id), started=started)
        try:
            for kind, key, body, size in obituary.unheard(rest, incarnation.received):
                incarnation.received += size
                self._relay.take(incarnation, kind, key, body, size)
        except Exception:  # whatever is in it, the thread must go on
            log.exception("the event log of thread %s is damaged", thread.id)
        return end

    async def _bury(self, incarnation: Incarnation, end: End, noticed: float, *, delivered: bool) -> None:
        thread = incarnation.thread
        if not delivered:
            rest = await self._loop.run_in_executor(self._clerks, _long_rest, incarnation.log_path)
            end = self._deliver(incarnation, end, rest)
        turn = thread.turn
        if turn is not None:
            await self._say_the_end(thread, turn, incarnation, end)
            self._metrics.deaths.observe(time.monotonic() - noticed)
        for key in list(thread.asked):
            self._relay.questions.resolved(thread, key)
        self._write_down(incarnation, end, turn)
        self._after(thread, end)
        flushed = thread.facts.path if turn is not None else None
        await self._loop.run_in_executor(self._clerks, self._clear_away, incarnation, flushed)

    async def _say_the_end(
        self, thread: LoadedThread, turn: Turn, incarnation: Incarnation, end: End
    ) -> None:
        """The turn that was in flight ends as failed: in the rollout first, then for the clients."""
        death = obituary.Death(
            thread_id=thread.id,
            turn=turn,
            end=end,
            epoch=incarnation.epoch,
            pid=incarnation.handle.pid,
            rollout=thread.facts.path,
        )
        try:
            await self._loop.run_in_executor(self._clerks, obituary.record, death)
        except (OSError, RolloutError) as error:
            # Clients are told all the same; a reader takes a turn without an end for interrupted.
            log.error("the end of turn %s could not be stored: %s", turn.id, error)  # noqa: TRY400 - a full disk
        except Exception:  # by a bug of ours: the turn must end all the same
            log.exception("the end of turn %s could not be stored", turn.id)
        self._metrics.turns.observe(time.monotonic() - thread.turn_began)
        thread.turn = None
        thread.status = obituary.SYSTEM_ERROR
        for connection in tuple(thread.subscribers):  # one that turns out to be gone leaves the set
            for method, params in obituary.notifications(death):
                connection.notify(method, params, thread.id, first=method == "turn/completed")

    def _clear_away(self, incarnation: Incarnation, rollout: str | None) -> None:
        """What takes as long as file systems take."""
        with suppress(OSError):
            os.unlink(incarnation.log_path)
        drop_empty(self._runtime.stacks, incarnation.handle.pid)
        if incarnation.compartment is not None:
            incarnation.compartment.clear_away()
        if rollout is not None:
            obituary.flush(rollout)

    def _write_down(self, incarnation: Incarnation, end: End, turn: Turn | None) -> None:
        """For operators: the log, the thread's own log, the journal."""
        thread, pid = incarnation.thread, incarnation.handle.pid
        named = turn.id if turn else None
        extra = {"thread_id": thread.id, "turn": named or "", "epoch": incarnation.epoch, "pid": pid}
        log.info("worker ended: %s", end, extra=extra)
        self._logs.note(thread.id, f"worker {pid} ended: {end}")
        self._journal.note(
            "worker-ended",
            thread.id,
            reason=end.kind,
            epoch=incarnation.epoch,
            pid=pid,
            how=str(end),
            turn=named,
        )


def _long_rest(path: str) -> bytes:
    """An event log of any size; blocks."""
    try:
        return Path(path).read_bytes()
    except (OSError, MemoryError) as error:  # the turn must end all the same
        log.error("event log %s cannot be read: %s", path, error or "too long")  # noqa: TRY400 - it says it all
        return b""
