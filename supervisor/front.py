"""The front: connections on one side, workers on the other, and the table between them.

It decodes what a client sends, finds the row of the method, and either answers (owner: front), passes the request to
the worker of the thread, or to the catalog. What workers say goes to clients as it is.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import msgspec

from config.errors import ConfigError
from protocol import rpc
from protocol.base import Wire
from protocol.experimental import refuse_unasked
from protocol.link import Adopt, Command
from protocol.link_calls import UnusedSource
from protocol.methods import METHODS, Method, Order, Owner
from protocol.notifications import ThreadStatusChanged
from protocol.refusal import decode_params, refuse_experimental
from protocol.threads import NotLoadedStatus
from protocol.unsupported import UNSUPPORTED, Unsupported, refusal
from protocol.v1.methods import V1_METHODS
from rollouts.errors import RolloutError
from rollouts.ids import canonical_id, new_id
from supervisor.accounts import Accounts
from supervisor.addressing import Key, as_canonical, key_of, thread_of
from supervisor.broker import Broker
from supervisor.catalog import Catalog
from supervisor.channel import Channel
from supervisor.configuration import Configuration
from supervisor.connection import Connection
from supervisor.handlers.registry import HANDLERS, Handler
from supervisor.hibernation import Hibernation
from supervisor.hosts import Hosts
from supervisor.hub import Hub
from supervisor.idle import IdleThreads
from supervisor.journal import Journal
from supervisor.lanes import Lanes
from supervisor.limits import LimitWatch, limits_for
from supervisor.loaded import LoadedThread
from supervisor.logins import Logins
from supervisor.metrics import LoopLag, Metrics
from supervisor.nursery import Nursery
from supervisor.offered_models import OfferedModels
from supervisor.runtime import RuntimeDirectory
from supervisor.stalls import Stalls
from supervisor.supervision import Supervisor
from supervisor.user_agent import user_agent
from supervisor.v1.adapter import Adapter
from supervisor.v1.registry import V1_HANDLERS
from supervisor.watchdog import Watchdog
from supervisor.zygote import ZygoteLauncher, ZygoteSpec

__all__ = ["Front"]

log = logging.getLogger("bulkhead.front")

SETTLE_S = 3.0
"""A request that takes longer than this at the server's end is interrupted like a turn."""
SETTLE_LOOK_S = 0.005
_EXPECTED = ", ".join(f"`{name}`" for name in (*METHODS, *UNSUPPORTED))


_NO_CONTEXT = msgspec.Raw(b"{}")
_after: ContextVar[list[Callable[[], None]]] = ContextVar("after")
"""What the request that this task works on says after its result."""


class Front:
    """One server. Make it inside the running loop, `attach` its clients, `close` it."""

    def __init__(self, configuration: Configuration, runtime: RuntimeDirectory) -> None:
        self.configuration = configuration
        self.home = configuration.home
        self.runtime = runtime
        settings = configuration.settings.bulkhead
        self.hub = Hub(runtime.hub_socket)
        self.launcher = ZygoteLauncher(
            ZygoteSpec(
                endpoint=self.hub.endpoint,
                stacks=runtime.stacks,
                processes=runtime.processes,
                nice=settings.worker_nice,
            )
        )
        self.nursery = Nursery(self.launcher, self.hub, settings.parked_workers)
        self.accounts = Accounts(configuration, self.tell_all)
        self.broker = Broker(configuration, self.accounts)
        self.logins = Logins(configuration, self.accounts, self.tell_all)
        self.journal = Journal(runtime.journal)
        self.metrics = Metrics()
        self.lag = LoopLag(self.metrics.lag)
        self.supervisor = Supervisor(
            self.hub,
            self.nursery,
            runtime,
            settings,
            self.broker,
            journal=self.journal,
            metrics=self.metrics,
        )
        flags = msgspec.Raw(msgspec.json.encode(configuration.flags))
        adopt = Adopt(role="catalog", home=self.home, flags=flags, credit=settings.credit_bytes)
        self.catalog = Catalog(self.hub, self.nursery, adopt)
        self.offered_models = OfferedModels(configuration, self.catalog)
        self.hosts = Hosts(
            self.hub, self.nursery, Adopt(role="host", home=self.home, credit=settings.credit_bytes)
        )
        self.watchdog = Watchdog(self.supervisor, self.hub, settings, runtime.stacks)
        self.hibernation = Hibernation(self.supervisor, self.hub, settings)
        self.limits = LimitWatch(self.supervisor, self.hibernation, self.supervisor.logs)
        self.connections: set[Connection] = set()
        self.stalls = Stalls(self.connections, settings.client_stall_s, self.journal)
        idle = IdleThreads(self, settings.idle_unload_s)
        self._watches = (self.watchdog, self.hibernation, self.limits, self.lag, self.stalls, idle)
        self.lanes = Lanes()
        self._adapters: dict[Connection, Adapter] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self.launcher.start()
        self.nursery.start()
        for watch in self._watches:
            watch.start()
        for left in self.runtime.reaped:
            self.journal.note("reaped", server=left.server, pids=left.pids)

    def attach(self, name: str, channel: Channel, gone: Callable[[Connection], None]) -> Connection:
        """A new client; `gone` is called when it has closed its end. It may still read: see `detach`."""
        connection = Connection(name, channel, on_message=self._message, on_gone=gone)
        self.connections.add(connection)
        connection.start()
        return connection

    def detach(self, connection: Connection) -> None:
        """The client is gone for good; its threads go on for others."""
        self.connections.discard(connection)
        self.supervisor.forget(connection)
        self.hosts.forget(connection)
        adapter = self._adapters.pop(connection, None)
        if adapter is not None:
            adapter.close()

    async def settle(self, connection: Connection | None = None) -> None:
        """Wait, not for ever, until what clients (or this one) have asked so far is answered."""
        deadline = asyncio.get_running_loop().time() + SETTLE_S
        while asyncio.get_running_loop().time() < deadline:
            waiting = any(
                connection is None or pending.connection is connection
                for thread in self.supervisor.threads.values()
                for pending in thread.pending.values()
            )
            busy = self.catalog.busy or self.hosts.busy(connection)
            if not waiting and not busy and not self.lanes and not self._tasks:
                return
            await asyncio.sleep(SETTLE_LOOK_S)

    async def close(self) -> None:
        """Interrupt and store what runs, deliver what is left, end all processes."""
        for watch in self._watches:
            watch.close()
        await self.logins.end()
        await self.supervisor.close()
        await self.accounts.close()
        self.catalog.close()
        self.hosts.close()
        await self.lanes.settle()
        for connection in tuple(self.connections):
            await connection.outbox.flush()
        self.nursery.close()
        self.hub.close()
        await self.launcher.close()
        self.journal.close()

    # --- for handlers --------------------------------------------------------------------------------------------

    @staticmethod
    def after(say: Callable[[], None]) -> None:
        """Say something right after the result that the running handler returns; not after an error."""
        _after.get().append(say)

    def adapter(self, connection: Connection) -> Adapter:
        """What speaks the old protocol with this client; made when it first does."""
        if connection not in self._adapters:
            self._adapters[connection] = Adapter(self, connection)
        return self._adapters[connection]

    def tell_all(self, method: str, params: Wire, lane: str = "") -> None:
        for connection in self.connections:
            if connection.initialized:
                connection.notify(method, params, lane)

    def loaded(self, thread_id: str) -> LoadedThread | None:
        """The loaded thread of this id, in whatever form."""
        return self.supervisor.threads.get(as_canonical(thread_id))

    async def unload(self, thread: LoadedThread, *, materialize: bool = False) -> None:
        """Stop a thread's worker for good, and tell its clients. Only in the thread's lane."""
        audience = set(thread.subscribers)
        await self.supervisor.unload(thread, materialize=materialize)
        closed = ThreadStatusChanged(thread_id=thread.id, status=NotLoadedStatus())
        for subscriber in audience:
            subscriber.notify("thread/status/changed", closed, thread.id)

    @staticmethod
    def check_id(text: str, otherwise: str) -> None:
        try:
            canonical_id(text)
        except RolloutError:
            raise rpc.RpcError(otherwise) from None

    # --- requests --------------------------------------------------------------------------------------------------

    def _message(self, connection: Connection, message: rpc.Incoming) -> None:
        if isinstance(message, rpc.ClientRequest):
            try:
                self._request(connection, message)
            except rpc.RpcError as error:
                connection.reply_error(message.id, error)
            except ConfigError as error:
                connection.reply_error(message.id, rpc.RpcError(f"failed to load configuration: {error}"))
            except Exception as error:
                # A bug of ours must not take the other threads down; the request is answered all the same.
                log.exception("request %s failed", message.method)
                connection.reply_error(
                    message.id, rpc.RpcError(f"internal error: {error}", rpc.INTERNAL_ERROR)
                )
        elif isinstance(message, rpc.ClientResponse):
            connection.answered(message)

    def _request(self, connection: Connection, request: rpc.ClientRequest) -> None:
        name = request.method
        row = METHODS.get(name) or UNSUPPORTED.get(name) or V1_METHODS.get(name)
        self.metrics.requests[name if row else "unknown"] += 1
        if row is None:
            raise rpc.RpcError(
                f"Invalid request: unknown variant `{request.method}`, expected one of {_EXPECTED}"
            )
        if not connection.initialized and not (isinstance(row, Method) and row.order is Order.CONNECTION):
            raise rpc.RpcError("Not initialized")
        if row.experimental and not connection.experimental:
            raise rpc.RpcError(f"{row.name} requires experimentalApi capability")
        if isinstance(row, Unsupported):
            raise refusal(row)
        if not connection.experimental:
            refuse_unasked(row.name, request.params, row.params)
        if row.owner is Owner.FRONT:
            self._answer(connection, request, row)
        elif row.owner is Owner.CATALOG:
            decode_params(request.params, row.params)
            self.catalog.ask(self._command(connection, request, self.statuses()), connection)
        elif row.owner is Owner.HOST:
            self.hosts.ask(self._command(connection, request, self._host_context(row)), connection)
        elif row.order is Order.NEW_THREAD:
            self._new_thread(connection, request, row)
        else:
            self._to_worker(connection, request, row)

    def _answer(self, connection: Connection, request: rpc.ClientRequest, row: Method) -> None:
        """Let a handler answer: at once, in a task of its own, or in the lane of its thread."""
        params: Any = decode_params(request.params, row.params)
        if not connection.experimental:
            refuse_experimental(row.name, params)
        handler = HANDLERS.get(row.name) or V1_HANDLERS[row.name]
        if row.order is Order.THREAD:
            lane = thread_of(
                Key(params.thread_id), row, self.supervisor.threads, experimental=connection.experimental
            )
            self.lanes.run(lane, lambda: self._work(connection, request, handler, params, lane))
        elif row.order is Order.ACCOUNT:
            self.lanes.run(row.order.value, lambda: self._work(connection, request, handler, params))
        elif inspect.iscoroutinefunction(handler):
            task = asyncio.get_running_loop().create_task(self._work(connection, request, handler, params))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            after = self._begin_after()
            result = handler(self, connection, params)
            assert not isinstance(result, Awaitable)
            connection.reply(request.id, result)
            _say(after)

    async def _work(
        self,
        connection: Connection,
        request: rpc.ClientRequest,
        handler: Handler,
        params: Any,
        lane: str = "",
    ) -> None:
        after = self._begin_after()
        try:
            outcome = handler(self, connection, params)
            result = await outcome if isinstance(outcome, Awaitable) else outcome
        except rpc.RpcError as error:
            connection.reply_error(request.id, error, lane)
        except ConfigError as error:
            text = f"failed to load configuration: {error}"
            connection.reply_error(request.id, rpc.RpcError(text), lane)
        except Exception as error:
            log.exception("request %s failed", request.method)
            connection.reply_error(
                request.id, rpc.RpcError(f"internal error: {error}", rpc.INTERNAL_ERROR), lane
            )
        else:
            connection.reply(request.id, result, lane)
            _say(after)

    @staticmethod
    def _begin_after() -> list[Callable[[], None]]:
        after: list[Callable[[], None]] = []
        _after.set(after)
        return after

    # --- threads ----------------------------------------------------------------------------------------------------

    def _to_worker(self, connection: Connection, request: rpc.ClientRequest, row: Method) -> None:
        key = key_of(request)
        thread_id = thread_of(key, row, self.supervisor.threads, experimental=connection.experimental)
        if self.lanes.busy(thread_id):

            async def work() -> None:
                self._message_to(connection, request, row, thread_id)

            self.lanes.run(thread_id, work)
        else:
            self._message_to(connection, request, row, thread_id)

    def _message_to(
        self, connection: Connection, request: rpc.ClientRequest, row: Method, thread_id: str
    ) -> None:
        thread = self.supervisor.threads.get(thread_id)
        if thread is not None:
            if row.name == "thread/resume":
                self.supervisor.subscribe(thread, connection)
            self.supervisor.command(thread, self._command(connection, request), connection)
            return
        try:
            decode_params(request.params, row.params)
            if row.name == "thread/resume":
                self._load(connection, request, thread_id)
            elif row.stored:
                self.catalog.ask(self._command(connection, request, self.statuses()), connection)
            else:
                raise rpc.RpcError(f"thread not found: {thread_id}")
        except rpc.RpcError as error:
            connection.reply_error(request.id, error, thread_id)
        except ConfigError as error:
            text = f"failed to load configuration: {error}"
            connection.reply_error(request.id, rpc.RpcError(text), thread_id)

    def _load(
        self,
        connection: Connection,
        request: rpc.ClientRequest,
        thread_id: str,
        context: msgspec.Raw = _NO_CONTEXT,
    ) -> None:
        configuration = self.configuration.refresh()
        client = connection.client
        assert client is not None
        info = client.client_info
        adopt = Adopt(
            role="thread",
            thread_id=thread_id,
            home=self.home,
            scratch=self.runtime.ephemeral,
            server=self.runtime.name,
            server_pid=os.getpid(),
            server_lock=self.runtime.lock_path,
            layers=configuration.layers,
            originator=info.name,
            user_agent=user_agent(info.name, info.version),
        )
        limits = limits_for(configuration, request.params)
        self.supervisor.load(
            thread_id, adopt, connection, self._command(connection, request, context), limits
        )

    def _new_thread(self, connection: Connection, request: rpc.ClientRequest, row: Method) -> None:
        params = decode_params(request.params, row.params)

        async def work() -> None:
            try:
                self._load(connection, request, new_id(), self._unused(source))
            except ConfigError as error:
                connection.reply_error(request.id, rpc.RpcError(f"failed to load configuration: {error}"))

        # A fork comes after what is under way with the thread that it is made of, e.g. its return from the archive.
        source = as_canonical(getattr(params, "thread_id", ""))
        if self.lanes.busy(source):
            self.lanes.run(source, work)
        else:
            self._load(connection, request, new_id(), self._unused(source))

    def _unused(self, source: str) -> msgspec.Raw:
        """For a fork: how its source was started, if there is nothing stored of it."""
        thread = self.supervisor.threads.get(source)
        if thread is None or not thread.loaded or thread.facts.path is not None or thread.facts.ephemeral:
            return _NO_CONTEXT
        return msgspec.Raw(msgspec.json.encode(UnusedSource(started=thread.adopt.recover)))

    @staticmethod
    def _command(
        connection: Connection, request: rpc.ClientRequest, context: msgspec.Raw = _NO_CONTEXT
    ) -> Command:
        return Command(
            id=msgspec.Raw(request.id),
            method=request.method,
            params=request.params or msgspec.Raw(b"null"),
            experimental=connection.experimental,
            context=context,
        )

    def _host_context(self, row: Method) -> msgspec.Raw:
        """Commands run under the configuration as it is now; host workers live long."""
        return self.configuration.refresh().layers if row.name == "command/exec" else _NO_CONTEXT

    def statuses(self) -> msgspec.Raw:
        """The status of each loaded thread, for lists."""
        statuses = {
            thread.id: msgspec.Raw(thread.status)
            for thread in self.supervisor.threads.values()
            if thread.loaded
        }
        return msgspec.Raw(msgspec.json.encode(statuses))


def _say(after: list[Callable[[], None]]) -> None:
    for say in after:
        say()


async def run_until(stopped: asyncio.Event, front: Front) -> None:
    """Serve until `stopped`."""
    front.start()
    await stopped.wait()
    await front.close()
