"""Births, deaths and everything between: how a thread keeps a worker, and what happens when it loses it.

The front never waits for a worker to agree. What a worker says comes in as a stream of records; what a dead worker
said and the socket did not bring is read from its event log; what it cannot say any more (the end of a turn that
was in flight) is written to the rollout and said for it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from config.settings import Bulkhead, Limits
from protocol import rpc
from protocol.link import Adopt, Command, Frame
from protocol.methods import METHODS
from rollouts.errors import RolloutError
from supervisor import obituary, refusals
from supervisor.endings import Endings
from supervisor.hub import Hub
from supervisor.journal import Journal
from supervisor.launcher import Exit, Handle, LaunchError
from supervisor.loaded import Incarnation, LoadedThread, Pending
from supervisor.metrics import Metrics
from supervisor.nursery import Nursery
from supervisor.questions import Questions
from supervisor.relay import Relay
from supervisor.restarts import RestartPolicy, RestartRation
from supervisor.runtime import RuntimeDirectory
from supervisor.states import End, EndKind, State
from supervisor.thread_logs import ThreadLogs
from supervisor.thread_peer import ThreadPeer

if TYPE_CHECKING:
    from supervisor.broker import Broker
    from supervisor.connection import Connection

__all__ = ["Supervisor"]

log = logging.getLogger("bulkhead.supervision")

_BEGINS_TURN = frozenset({"turn/start", "review/start", "thread/compact/start"})
_encode = msgspec.json.Encoder().encode


class Supervisor:
    def __init__(
        self,
        hub: Hub,
        nursery: Nursery,
        runtime: RuntimeDirectory,
        settings: Bulkhead,
        broker: Broker,
        *,
        journal: Journal,
        metrics: Metrics,
    ) -> None:
        self.threads: dict[str, LoadedThread] = {}
        self._hub = hub
        self._nursery = nursery
        self._runtime = runtime
        self._settings = settings
        self._broker = broker
        self.journal = journal
        self.logs = ThreadLogs(runtime.logs)
        self.draining = False
        """No new threads and no new turns: the server is to end."""
        self._policy = RestartPolicy(settings)
        self._ration = RestartRation()
        self._loop = asyncio.get_running_loop()
        self.endings = Endings(hub, employ=self._employ, remove=self.remove)
        self.questions = Questions(hub, settings, self._interrupt)
        self.relay = Relay(
            hub, self.questions, metrics, journal, credit_bytes=settings.credit_bytes, dismiss=self._dismiss
        )
        self._keys = itertools.count(1)
        self._loads = itertools.count(1)
        self._burials: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def restarts_waiting(self) -> int:
        """Threads whose new worker is held back, so that live turns have the machine."""
        return self._ration.waiting

    # --- loading and commands ---------------------------------------------------------------------------

    def load(
        self, thread_id: str, adopt: Adopt, connection: Connection, command: Command, limits: Limits
    ) -> None:
        """Give a thread its first worker and that worker its first command (thread/start or thread/resume)."""
        if self._closing or self.draining:
            refusal = refusals.shutting_down() if self._closing else refusals.draining()
            self._refuse(Pending(0, command, connection), refusal)
            return
        thread = LoadedThread(thread_id, next(self._loads), adopt)
        thread.limits = limits
        self.threads[thread_id] = thread
        self.subscribe(thread, connection)
        self.command(thread, command, connection)
        self._employ(thread)

    def command(self, thread: LoadedThread, command: Command, connection: Connection | None) -> None:
        """Pass a command on; without a connection nobody is told the answer."""
        if self._closing:
            self._refuse(Pending(0, command, connection), refusals.shutting_down())
            return
        if thread.state is State.QUARANTINED:
            self._refuse(Pending(0, command, connection), self._why_quarantined(thread))
            return
        if (thread.draining or self.draining) and command.method in _BEGINS_TURN and not thread.busy:
            self._refuse(Pending(0, command, connection), refusals.draining(), thread.id)
            return
        key = next(self._keys)
        thread.pending[key] = Pending(key, command, connection)
        incarnation = thread.incarnation
        if incarnation is not None:
            self._hub.send(incarnation.handle.token, Frame.COMMAND, key, _encode(command))
            incarnation.idle_since = time.monotonic()
            if not thread.busy:
                incarnation.last_heard = time.monotonic()
        elif thread.state is State.HIBERNATED:
            thread.wakes += 1
            self._employ(thread)

    def reload_servers(self, layers: msgspec.Raw) -> None:
        """Have all threads take their MCP servers from this configuration."""
        for thread in self.threads.values():
            thread.adopt.mcp_layers = layers
            if thread.incarnation is not None:
                self._hub.send(thread.incarnation.handle.token, Frame.RELOAD, 0, bytes(layers))

    def subscribe(self, thread: LoadedThread, connection: Connection) -> None:
        if connection in thread.subscribers:
            return
        thread.subscribers.add(connection)
        thread.attendance += 1

    def unsubscribe(self, thread: LoadedThread, connection: Connection) -> bool:
        """The client hears no more of a thread; whether it did until now."""
        if connection not in thread.subscribers:
            return False
        thread.subscribers.discard(connection)
        self.questions.left(thread, connection)
        return True

    def forget(self, connection: Connection) -> None:
        """A client is gone; its threads go on for the others."""
        for thread in self.threads.values():
            if connection in thread.subscribers:
                thread.subscribers.discard(connection)
                self.questions.left(thread, connection)
            for pending in thread.pending.values():
                if pending.connection is connection:
                    pending.connection = None

    def hold(self, thread: LoadedThread, *, held: bool) -> None:
        """Whether the thread begins no turns by itself, for its goal."""
        if thread.incarnation is not None:
            self._hub.send(thread.incarnation.handle.token, Frame.HOLD, int(held))

    def _interrupt(self, thread: LoadedThread) -> None:
        params = _encode({"threadId": thread.id, "turnId": ""})
        command = Command(id=msgspec.Raw(b"0"), method="turn/interrupt", params=msgspec.Raw(params))
        self.command(thread, command, None)

    # --- births -------------------------------------------------------------------------------------------

    def _employ(self, thread: LoadedThread) -> None:
        thread.move(State.STARTING)
        thread.asked_for_worker = time.monotonic()
        self._nursery.adopt(
            lambda handle: self._adopt(thread, handle), lambda error: self._cannot_start(thread, error)
        )

    def _adopt(self, thread: LoadedThread, handle: Handle) -> None:
        if self._closing or thread.unloading or self.threads.get(thread.id) is not thread:
            handle.signal(signal.SIGKILL)
            self._hub.detach(handle.token)
            return
        thread.epoch += 1
        # Not by the epoch alone: a thread may be loaded anew before its last worker is buried.
        log_path = self._runtime.event_log(thread.id, thread.load, thread.epoch)
        incarnation = Incarnation(thread, handle, thread.epoch, log_path)
        thread.incarnation = incarnation
        self._hub.attach(handle.token, ThreadPeer(incarnation, self.relay, self.call))
        handle.exited.add_done_callback(lambda exited: self._died(incarnation, exited.result()))
        adopt = msgspec.structs.replace(
            thread.adopt,
            epoch=thread.epoch,
            event_log=incarnation.log_path,
            credit=self._settings.credit_bytes,
            log=self.logs.path(thread.id),
            processes=self._runtime.processes,
            runtime=self._runtime.base,
        )
        if not thread.loaded:
            adopt.recover_method = ""
        self._hub.send(handle.token, Frame.ADOPT, thread.epoch, _encode(adopt))
        if thread.draining or self.draining:
            self.hold(thread, held=True)
        for pending in thread.pending.values():
            self._hub.send(handle.token, Frame.COMMAND, pending.key, _encode(pending.command))
        thread.move(State.IDLE)
        self.logs.note(thread.id, f"worker {handle.pid}, epoch {thread.epoch}")
        waited = round((time.monotonic() - thread.asked_for_worker) * 1000, 1)
        self.journal.note("worker-adopted", thread.id, epoch=thread.epoch, pid=handle.pid, waited_ms=waited)

    def _cannot_start(self, thread: LoadedThread, error: LaunchError) -> None:
        self._refuse_all(thread, refusals.no_worker(error))
        self.journal.note("no-worker", thread.id, detail=str(error))
        thread.move(State.DEAD)
        if thread.loaded:
            self._loop.call_later(self._settings.restart_backoff_cap_ms / 1000, self._restart, thread)
        else:
            self.remove(thread)

    def call(self, incarnation: Incarnation, number: int, payload: bytes) -> None:
        """A worker asks for what only the front has (credentials); number 0 wants no answer."""
        token = incarnation.handle.token

        def answer(text: bytes) -> None:
            if number:
                self._hub.send(token, Frame.RETURN, number, text)

        self._broker.take(token, incarnation.thread.id, payload, answer)

    # --- deaths ---------------------------------------------------------------------------------------------

    def _died(self, incarnation: Incarnation, exit_: Exit) -> None:
        self._hub.drain()  # what it said before its end comes first
        self._hub.detach(incarnation.handle.token)
        self._broker.forget(incarnation.handle.token)
        task = asyncio.ensure_future(self._bury(incarnation, exit_))
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def _bury(self, incarnation: Incarnation, exit_: Exit) -> None:
        thread = incarnation.thread
        end = incarnation.ended(exit_)
        thread.incarnation = None
        thread.last_end = end
        thread.move(State.DEAD)
        log.info(
            "worker ended: %s",
            end,
            extra={
                "thread_id": thread.id,
                "turn": thread.turn.id if thread.turn else "",
                "epoch": incarnation.epoch,
                "pid": incarnation.handle.pid,
            },
        )
        rest = await self._loop.run_in_executor(None, obituary.rest_of_log, incarnation.log_path)
        started = bool(incarnation.received or rest)
        end = await self._loop.run_in_executor(
            None, partial(obituary.with_last_line, end, self.logs.path(thread.id), started=started)
        )
        thread.last_end = end
        self.logs.note(thread.id, f"worker {incarnation.handle.pid} ended: {end}")
        self.journal.note(
            "worker-ended",
            thread.id,
            reason=end.kind,
            epoch=incarnation.epoch,
            pid=incarnation.handle.pid,
            how=str(end),
            turn=thread.turn.id if thread.turn else None,
        )
        try:
            for kind, key, body, size in obituary.unheard(rest, incarnation.received):
                incarnation.received += size
                self.relay.take(incarnation, kind, key, body, size)
        except Exception:  # whatever is in it, the thread must go on
            log.exception("the event log of thread %s is damaged", thread.id)
        if thread.turn is not None:
            await self._say_the_end(thread, incarnation, end)
        for key in list(thread.asked):
            self.questions.resolved(thread, key)
        with suppress(FileNotFoundError):
            os.unlink(incarnation.log_path)
        obituary.keep_stack(self._runtime.stacks, incarnation.handle.pid)
        self._refuse_effects(thread, end)
        self._what_next(thread, end)

    def _refuse_effects(self, thread: LoadedThread, end: End) -> None:
        """What a dead worker was at may have been done already: it is not for a successor to do it again."""
        if end.kind is EndKind.HIBERNATED:
            return  # it had begun nothing
        for key, pending in list(thread.pending.items()):
            row = METHODS.get(pending.command.method)
            if row is not None and row.once:
                del thread.pending[key]
                text = f"the thread's process ended ({end}) before the answer; {row.name} is not tried again"
                self._refuse(pending, rpc.RpcError(text, rpc.INTERNAL_ERROR), thread.id)

    async def _say_the_end(self, thread: LoadedThread, incarnation: Incarnation, end: End) -> None:
        """The turn that was in flight ends as failed: in the rollout first, then for the clients."""
        assert thread.turn is not None
        death = obituary.Death(
            thread_id=thread.id,
            turn=thread.turn,
            end=end,
            epoch=incarnation.epoch,
            pid=incarnation.handle.pid,
            rollout=thread.facts.path,
        )
        try:
            await self._loop.run_in_executor(None, obituary.record, death)
        except (OSError, RolloutError) as error:
            # Clients are told all the same; a reader takes a turn without an end for interrupted.
            log.error("the end of turn %s could not be stored: %s", thread.turn.id, error)  # noqa: TRY400 - a full disk
        thread.turn = None
        thread.status = obituary.SYSTEM_ERROR
        for connection in thread.subscribers:
            for method, params in obituary.notifications(death):
                connection.notify(method, params, thread.id)

    def _what_next(self, thread: LoadedThread, end: End) -> None:
        if thread.unloading or self._closing:
            self.remove(thread)
            return
        if end.kind is EndKind.HIBERNATED:
            # A command may have come while its worker went to sleep.
            if thread.pending or thread.goes_on:
                thread.goes_on = False
                thread.wakes += 1
                self._employ(thread)
            else:
                thread.move(State.HIBERNATED)
            return
        delay = self._policy.delay(thread, end)
        if delay is None:
            thread.move(State.QUARANTINED)
            log.error("thread %s is quarantined: %d deaths", thread.id, len(thread.deaths))
            self.journal.note("quarantined", thread.id, deaths=len(thread.deaths), last=str(end))
            self._refuse_all(thread, self._why_quarantined(thread))
            if not thread.loaded:
                self.remove(thread)
            return
        thread.restarts += 1
        thread.next_start = time.monotonic() + delay
        self.journal.note("restart", thread.id, delay_ms=round(delay * 1000), deaths=len(thread.deaths))
        self._loop.call_later(delay, self._ration.run, partial(self._restart, thread))

    def _restart(self, thread: LoadedThread) -> None:
        if thread.state is State.DEAD and not thread.unloading and not self._closing:
            self._employ(thread)
        elif thread.unloading:
            self.remove(thread)

    def _why_quarantined(self, thread: LoadedThread) -> rpc.RpcError:
        return refusals.quarantined(thread, self._settings.restart_window_s)

    def _dismiss(self, thread: LoadedThread) -> None:
        """The thread could not be loaded: its worker is of no use."""
        thread.unloading = True
        self.threads.pop(thread.id, None)
        self.endings.end(thread, EndKind.STOPPED)

    def _refuse_all(self, thread: LoadedThread, error: rpc.RpcError) -> None:
        pending, thread.pending = thread.pending, {}
        for one in pending.values():
            self._refuse(one, error, thread.id)

    def _refuse(self, pending: Pending, error: rpc.RpcError, lane: str = "") -> None:
        if pending.connection is not None:
            pending.connection.reply_error(bytes(pending.command.id), error, lane)

    # --- the end ------------------------------------------------------------------------------------------------

    async def unload(self, thread: LoadedThread, *, materialize: bool = False) -> None:
        """Stop the worker for good; the thread is not loaded afterwards."""
        await self.endings.unload(thread, materialize=materialize)

    def remove(self, thread: LoadedThread) -> None:
        """The thread is not loaded any more; what it was asked and has not answered is refused."""
        if self.threads.get(thread.id) is thread:
            del self.threads[thread.id]
        self._refuse_all(thread, rpc.RpcError(f"thread not found: {thread.id}"))
        if thread.unloaded is not None:
            thread.unloaded()

    async def close(self) -> None:
        """Stop all workers at once; running turns are stored as interrupted."""
        self._closing = True
        self._ration.close()
        await self.endings.stop_all(self.threads.values())
        while self._burials:
            await asyncio.wait(set(self._burials))
        asleep = [t for t in self.threads.values() if t.state is State.HIBERNATED and not t.facts.ephemeral]
        await self._loop.run_in_executor(None, obituary.drop_leases, [(t.adopt.home, t.id) for t in asleep])
        for thread in tuple(self.threads.values()):
            self.remove(thread)
