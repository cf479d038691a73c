"""Who is a thread's next worker, and when: births, and what follows a death. A restart now or later, sleep, quarantine.

The front never waits for a worker: a thread asks for one and goes on when it is there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from config.settings import Bulkhead
from protocol.link import HIBERNATED, Frame
from supervisor import refusals
from supervisor.compartments import Compartments
from supervisor.journal import Journal
from supervisor.launcher import Exit, Handle, LaunchError
from supervisor.loaded import Incarnation, LoadedThread
from supervisor.nursery import Nursery
from supervisor.restarts import RestartPolicy, RestartRation
from supervisor.runtime import RuntimeDirectory
from supervisor.states import End, EndKind, State
from supervisor.thread_logs import ThreadLogs
from supervisor.thread_peer import ThreadPeer

if TYPE_CHECKING:
    from protocol.rpc import RpcError
    from supervisor.hub import Hub

__all__ = ["Succession"]

log = logging.getLogger("bulkhead.succession")

_encode = msgspec.json.Encoder().encode


class Succession:
    """Gives threads their workers.

    `wanted`: whether a thread is (still) to have one. `peer` makes the hub's peer of an incarnation, `died` is told of its
    end. `hold_back` has a thread that is drained begin no turns by itself. `refuse` answers what a thread was asked and
    nobody will do; `remove` makes it one that is not loaded.
    """

    def __init__(
        self,
        hub: Hub,
        nursery: Nursery,
        *,
        runtime: RuntimeDirectory,
        settings: Bulkhead,
        logs: ThreadLogs,
        journal: Journal,
        wanted: Callable[[LoadedThread], bool],
        peer: Callable[[Incarnation], ThreadPeer],
        died: Callable[[Incarnation, Exit], None],
        refuse: Callable[[LoadedThread, RpcError], None],
        remove: Callable[[LoadedThread], None],
        hold_back: Callable[[LoadedThread], None],
    ) -> None:
        self._hub = hub
        self._nursery = nursery
        self._runtime = runtime
        self._settings = settings
        self._logs = logs
        self._journal = journal
        self._wanted = wanted
        self._peer = peer
        self._died = died
        self._refuse = refuse
        self._remove = remove
        self._hold_back = hold_back
        self.wakes = 0
        """Of all threads, those that are not loaded any more included."""
        self._policy = RestartPolicy(settings)
        self._compartments = Compartments(runtime.name, settings.cgroup)
        self._ration = RestartRation()
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        """Threads whose new worker is held back, so that live turns have the machine."""
        return self._ration.waiting

    def close(self) -> None:
        """No more restarts."""
        self._ration.close()

    def clear_away(self) -> None:
        """All workers have ended."""
        self._compartments.close()

    # --- births -------------------------------------------------------------------------------------------

    def employ(self, thread: LoadedThread) -> None:
        """Give a thread the next free worker."""
        thread.move(State.STARTING)
        thread.asked_for_worker = time.monotonic()
        self._nursery.adopt(partial(self._adopt, thread), partial(self._cannot_start, thread))

    def wake(self, thread: LoadedThread) -> None:
        """Give a hibernated thread a worker again."""
        thread.wakes += 1
        self.wakes += 1
        self.employ(thread)

    def _adopt(self, thread: LoadedThread, handle: Handle) -> None:
        if not self._wanted(thread):
            handle.signal(signal.SIGKILL)
            self._hub.detach(handle.token)
            return
        thread.epoch += 1
        thread.refused_worker = ""
        # Not by the epoch alone: a thread may be loaded anew before its last worker is buried.
        log_path = self._runtime.event_log(thread.id, thread.load, thread.epoch)
        incarnation = Incarnation(thread, handle, thread.epoch, log_path)
        thread.incarnation = incarnation
        self._hub.attach(handle.token, self._peer(incarnation))
        handle.exited.add_done_callback(lambda exited: self._died(incarnation, exited.result()))
        limits = thread.limits
        compartment = self._compartments.enclose(os.path.basename(log_path), handle.pid, limits)
        incarnation.compartment = compartment
        adopt = msgspec.structs.replace(
            thread.adopt,
            memory_mib=0 if compartment else limits.memory_mib,
            turn_cpu_s=limits.turn_cpu_s,
            epoch=thread.epoch,
            event_log=incarnation.log_path,
            credit=self._settings.credit_bytes,
            log=self._logs.path(thread.id),
            processes=self._runtime.processes,
            runtime=self._runtime.base,
        )
        if not thread.loaded:
            adopt.recover_method = ""
        # Ahead of the first line that it can print: the last line of one that fails is told as its reason.
        self._logs.note(thread.id, f"worker {handle.pid}, epoch {thread.epoch}")
        self._hub.send(handle.token, Frame.ADOPT, thread.epoch, _encode(adopt))
        self._hold_back(thread)
        for pending in thread.pending.values():
            self._hub.send(handle.token, Frame.COMMAND, pending.key, _encode(pending.command))
        thread.move(State.IDLE)
        waited = round((time.monotonic() - thread.asked_for_worker) * 1000, 1)
        self._journal.note("worker-adopted", thread.id, epoch=thread.epoch, pid=handle.pid, waited_ms=waited)

    def _cannot_start(self, thread: LoadedThread, error: LaunchError) -> None:
        self._refuse(thread, refusals.no_worker(error))
        self._journal.note("no-worker", thread.id, detail=str(error))
        thread.move(State.DEAD)
        thread.refused_worker = str(error)
        if thread.loaded:
            delay = self._settings.restart_backoff_cap_ms / 1000
            thread.next_start = time.monotonic() + delay
            self._loop.call_later(delay, self._restart, thread, thread.next_start)
        else:
            self._remove(thread)

    # --- after a death ------------------------------------------------------------------------------------

    def after(self, thread: LoadedThread, end: End) -> None:
        """A worker has ended and everybody has been told; see what comes next."""
        if not self._wanted(thread):
            if end.exit_code == HIBERNATED:
                # It fell asleep before it was told to stop: who ends it sees to what a sleeper leaves, its lease.
                thread.move(State.HIBERNATED)
            else:
                self._remove(thread)
            return
        if end.kind is EndKind.HIBERNATED:
            # A command may have come while its worker went to sleep.
            goes_on, thread.goes_on = thread.goes_on and thread.facts.goal == "active", False
            if thread.pending or goes_on:
                self.wake(thread)
            else:
                thread.move(State.HIBERNATED)
            return
        delay = self._policy.delay(thread, end)
        if delay is None:
            self._quarantine(thread, end)
            return
        thread.restarts += 1
        thread.next_start = time.monotonic() + delay
        self._journal.note("restart", thread.id, delay_ms=round(delay * 1000), deaths=len(thread.deaths))
        self._loop.call_later(delay, self._ration.run, partial(self._restart, thread, thread.next_start))

    def _quarantine(self, thread: LoadedThread, end: End) -> None:
        thread.move(State.QUARANTINED)
        log.error("thread %s is quarantined: %d deaths", thread.id, len(thread.deaths))
        self._journal.note("quarantined", thread.id, deaths=len(thread.deaths), last=str(end))
        self._refuse(thread, self.why_quarantined(thread))
        if not thread.loaded:
            self._remove(thread)

    def why_quarantined(self, thread: LoadedThread) -> RpcError:
        return refusals.quarantined(thread, self._settings.restart_window_s)

    def _restart(self, thread: LoadedThread, due: float) -> None:
        """Unless an operator was quicker: then `due` is of an earlier death."""
        if thread.next_start == due and self._wanted(thread):
            self.employ(thread)
