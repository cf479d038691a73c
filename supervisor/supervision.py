"""The loaded threads: what they are asked, who listens to them, and how they are unloaded.

The front never waits for a worker to agree. What a worker says comes in as a stream of records (`relay.py`); what happens
when it dies is in `burials.py`, and who comes next in `succession.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from config.settings import Bulkhead, Limits
from protocol import rpc
from protocol.link import Adopt, Command, Frame
from protocol.methods import METHODS
from supervisor import obituary, refusals
from supervisor.burials import Burials
from supervisor.endings import Endings
from supervisor.hub import Hub
from supervisor.journal import Journal
from supervisor.loaded import Incarnation, LoadedThread, Pending
from supervisor.metrics import Metrics
from supervisor.nursery import Nursery
from supervisor.questions import Questions
from supervisor.relay import Relay
from supervisor.runtime import RuntimeDirectory
from supervisor.states import End, EndKind, State
from supervisor.succession import Succession
from supervisor.thread_logs import ThreadLogs
from supervisor.thread_peer import ThreadPeer

if TYPE_CHECKING:
    from supervisor.broker import Broker
    from supervisor.connection import Connection

__all__ = ["Supervisor"]

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
        self._broker = broker
        self.journal = journal
        self.logs = ThreadLogs(runtime.logs)
        self.draining = False
        """No new threads and no new turns: the server is to end."""
        self._loop = asyncio.get_running_loop()
        self.questions = Questions(hub, settings, self._interrupt)
        self.relay = Relay(
            hub, self.questions, metrics, journal, credit_bytes=settings.credit_bytes, dismiss=self._dismiss
        )
        self.burials = Burials(
            hub,
            broker,
            self.relay,
            runtime=runtime,
            logs=self.logs,
            journal=journal,
            metrics=metrics,
            after=self._after,
        )
        self.succession = Succession(
            hub,
            nursery,
            runtime=runtime,
            settings=settings,
            logs=self.logs,
            journal=journal,
            wanted=self._wanted,
            peer=lambda incarnation: ThreadPeer(incarnation, self.relay, self.call),
            died=self.burials.begin,
            refuse=self._refuse_all,
            remove=self.remove,
            hold_back=self._hold_back,
        )
        self.endings = Endings(hub, employ=self.succession.employ, remove=self.remove)
        self.not_loaded: Callable[[Incarnation, list[Pending]], None] = lambda *_: None
        """Called when a thread could not be loaded, with what it was asked beside; its worker is about to end."""
        self._keys = itertools.count(1)
        self._loads = itertools.count(1)
        self._closing = False

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
        thread.attach(connection)
        self.command(thread, command, connection)
        self.succession.employ(thread)

    def command(self, thread: LoadedThread, command: Command, connection: Connection | None) -> None:
        """Pass a command on; without a connection nobody is told the answer."""
        if self._closing:
            self._refuse(Pending(0, command, connection), refusals.shutting_down())
            return
        if thread.state is State.QUARANTINED:
            self._refuse(Pending(0, command, connection), self.succession.why_quarantined(thread))
            return
        if (thread.draining or self.draining) and command.method in _BEGINS_TURN and not thread.busy:
            self._refuse(Pending(0, command, connection), refusals.draining(), thread.id)
            return
        key = next(self._keys)
        attaches = connection is not None and command.method == "thread/resume"
        thread.pending[key] = Pending(key, command, connection, attaches)
        incarnation = thread.incarnation
        if incarnation is not None:
            self._hub.send(incarnation.handle.token, Frame.COMMAND, key, _encode(command))
            incarnation.idle_since = time.monotonic()
            if not thread.busy:
                incarnation.last_heard = time.monotonic()
        elif thread.state is State.HIBERNATED:
            self.succession.wake(thread)

    def reload_servers(self, layers: msgspec.Raw) -> None:
        """Have all threads take their MCP servers from this configuration."""
        for thread in self.threads.values():
            thread.adopt.mcp_layers = layers
            if thread.incarnation is not None:
                self._hub.send(thread.incarnation.handle.token, Frame.RELOAD, 0, bytes(layers))

    def unsubscribe(self, thread: LoadedThread, connection: Connection) -> bool:
        """The client hears no more of a thread; whether it did until now, or was about to."""
        coming = [one for one in thread.pending.values() if one.connection is connection and one.attaches]
        for pending in coming:
            pending.attaches = False
        if connection not in thread.subscribers:
            return bool(coming)
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

    def _hold_back(self, thread: LoadedThread) -> None:
        if thread.draining or self.draining:
            self.hold(thread, held=True)

    def _interrupt(self, thread: LoadedThread) -> None:
        params = _encode({"threadId": thread.id, "turnId": ""})
        command = Command(id=msgspec.Raw(b"0"), method="turn/interrupt", params=msgspec.Raw(params))
        self.command(thread, command, None)

    def call(self, incarnation: Incarnation, number: int, payload: bytes) -> None:
        """A worker asks for what only the front has (credentials); number 0 wants no answer."""
        token = incarnation.handle.token

        def answer(text: bytes) -> None:
            if number:
                self._hub.send(token, Frame.RETURN, number, text)

        self._broker.take(token, incarnation.thread.id, payload, answer)

    # --- who has a worker, and who is told no ------------------------------------------------------------------

    def _after(self, thread: LoadedThread, end: End) -> None:
        """A worker has ended, and everybody has been told."""
        self._refuse_effects(thread, end)
        self.succession.after(thread, end)

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

    def _wanted(self, thread: LoadedThread) -> bool:
        return not self._closing and not thread.unloading and self.threads.get(thread.id) is thread

    def _dismiss(self, thread: LoadedThread) -> None:
        """The thread could not be loaded: its worker is of no use."""
        thread.unloading = True
        self.threads.pop(thread.id, None)
        if self.endings.end(thread, EndKind.STOPPED) and thread.incarnation is not None:
            waiting, thread.pending = thread.pending, {}
            self.not_loaded(thread.incarnation, list(waiting.values()))

    def _refuse_all(self, thread: LoadedThread, error: rpc.RpcError) -> None:
        pending, thread.pending = thread.pending, {}
        for one in pending.values():
            self._refuse(one, error, thread.id)

    def _refuse(self, pending: Pending, error: rpc.RpcError, lane: str = "") -> None:
        if pending.connection is not None:
            pending.connection.reply_error(bytes(pending.command.id), error, lane)

    # --- the end ------------------------------------------------------------------------------------------------

    async def unload(self, thread: LoadedThread, *, materialize: bool = False) -> bool:
        """Stop the worker for good; the thread is not loaded afterwards. False: somebody else tells the clients."""
        return await self.endings.unload(thread, materialize=materialize)

    def remove(self, thread: LoadedThread) -> None:
        """The thread is not loaded any more; what it was asked and has not answered is refused."""
        if self.threads.get(thread.id) is thread:
            del self.threads[thread.id]
        self._refuse_all(thread, rpc.RpcError(f"thread not found: {thread.id}"))
        if thread.gone is not None and not thread.gone.done():
            thread.gone.set_result(None)

    async def close(self) -> None:
        """Stop all workers at once; running turns are stored as interrupted."""
        self._closing = True
        self.succession.close()
        await self.endings.stop_all(self.threads.values())
        await self.burials.finish()
        self.succession.clear_away()
        asleep = [t for t in self.threads.values() if t.state is State.HIBERNATED and not t.facts.ephemeral]
        await self._loop.run_in_executor(None, obituary.drop_leases, [(t.adopt.home, t.id) for t in asleep])
        for thread in tuple(self.threads.values()):
            self.remove(thread)
