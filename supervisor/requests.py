"""Requests of clients: the row of the method says who answers, and what has to come first.

The front answers itself (a function of `supervisor.handlers`), or passes the request to the worker of the thread, to
the catalog, or to the connection's host worker. Every request is answered once, whatever happens here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import msgspec

from config.errors import ConfigError
from protocol import rpc
from protocol.experimental import refuse_unasked
from protocol.link import Adopt, Command
from protocol.link_calls import UnusedSource
from protocol.methods import METHODS, Method, Order, Owner
from protocol.refusal import decode_params
from protocol.unsupported import UNSUPPORTED, Unsupported, refusal
from protocol.v1.methods import V1_METHODS
from rollouts.ids import new_id
from supervisor import afterwards, refusals
from supervisor.addressing import Key, as_canonical, key_of, names_thread, thread_of
from supervisor.handlers.registry import HANDLERS, Handler
from supervisor.limits import limits_for
from supervisor.user_agent import user_agent
from supervisor.v1.registry import V1_HANDLERS

if TYPE_CHECKING:
    from supervisor.connection import Connection
    from supervisor.front import Front
    from supervisor.loaded import Incarnation, Pending

__all__ = ["Requests"]

log = logging.getLogger("bulkhead.requests")

_EXPECTED = ", ".join(f"`{name}`" for name in (*METHODS, *UNSUPPORTED))
_NO_CONTEXT = msgspec.Raw(b"{}")


class Requests:
    """`front` is what handlers get, and where the workers of all kinds are found."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._lanes = front.lanes
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether a handler is at work, in a lane or out of one."""
        return bool(self._tasks) or bool(self._lanes)

    def take(self, connection: Connection, message: rpc.Incoming) -> None:
        if isinstance(message, rpc.ClientRequest):
            try:
                self._request(connection, message)
            except Exception as error:  # noqa: BLE001 - see `_refuse`
                _refuse(connection, message, error)
        elif isinstance(message, rpc.ClientResponse):
            connection.answered(message)

    def _request(self, connection: Connection, request: rpc.ClientRequest) -> None:
        name = request.method
        row = METHODS.get(name) or UNSUPPORTED.get(name) or V1_METHODS.get(name)
        self._front.metrics.requests[name if row else "unknown"] += 1
        if row is None:
            raise rpc.RpcError(
                f"Invalid request: unknown variant `{request.method}`, expected one of {_EXPECTED}"
            )
        if not connection.initialized and not (isinstance(row, Method) and row.order is Order.CONNECTION):
            if isinstance(row, Method):
                # What is wrong with them is said first, as by the peer.
                decode_params(request.params, row.params)
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
            self._to_catalog(connection, request, row)
        elif row.owner is Owner.HOST or (row.without_thread and not names_thread(request)):
            self._front.hosts.ask(self._command(connection, request, self._host_context(row)), connection)
        elif row.order is Order.NEW_THREAD:
            self._new_thread(connection, request, row)
        else:
            self._to_worker(connection, request, row)

    def _answer(self, connection: Connection, request: rpc.ClientRequest, row: Method) -> None:
        """Let a handler answer: at once, in a task of its own, or in the lane of its thread."""
        params: Any = decode_params(request.params, row.params)
        handler = HANDLERS.get(row.name) or V1_HANDLERS[row.name]
        if row.order is Order.THREAD:
            lane = thread_of(
                Key(params.thread_id),
                row,
                self._front.supervisor.threads,
                experimental=connection.experimental,
            )
            self._lanes.run(lane, lambda: self._work(connection, request, handler, params, lane))
        elif row.order is Order.ACCOUNT:
            self._lanes.run(row.order.value, lambda: self._work(connection, request, handler, params))
        elif inspect.iscoroutinefunction(handler):
            task = asyncio.get_running_loop().create_task(self._work(connection, request, handler, params))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            later = afterwards.begin()
            result = handler(self._front, connection, params)
            assert not isinstance(result, Awaitable)
            connection.reply(request.id, result)
            afterwards.say(later)

    def _to_catalog(self, connection: Connection, request: rpc.ClientRequest, row: Method) -> None:
        decode_params(request.params, row.params)
        catalog = self._front.catalog
        command = self._command(connection, request, self._front.statuses())
        if row.order is Order.NONE:
            catalog.ask(command, connection)
        else:
            self._lanes.run(row.order.value, lambda: catalog.serve(command, connection))

    async def _work(
        self,
        connection: Connection,
        request: rpc.ClientRequest,
        handler: Handler,
        params: Any,
        lane: str = "",
    ) -> None:
        later = afterwards.begin()
        try:
            outcome = handler(self._front, connection, params)
            result = await outcome if isinstance(outcome, Awaitable) else outcome
        except Exception as error:  # noqa: BLE001 - see `_refuse`
            _refuse(connection, request, error, lane)
        else:
            connection.reply(request.id, result, lane)
            afterwards.say(later)

    # --- threads ----------------------------------------------------------------------------------------------------

    def _to_worker(self, connection: Connection, request: rpc.ClientRequest, row: Method) -> None:
        key = key_of(request)
        thread_id = thread_of(key, row, self._front.supervisor.threads, experimental=connection.experimental)
        if self._lanes.busy(thread_id):

            async def work() -> None:
                self._to_thread(connection, request, row, thread_id)

            self._lanes.run(thread_id, work)
        else:
            self._to_thread(connection, request, row, thread_id)

    def _to_thread(
        self, connection: Connection, request: rpc.ClientRequest, row: Method, thread_id: str
    ) -> None:
        thread = self._front.supervisor.threads.get(thread_id)
        if thread is not None:
            self._front.supervisor.command(thread, self._command(connection, request), connection)
            return
        try:
            decode_params(request.params, row.params)
            if row.name == "thread/resume":
                self._load(connection, request, thread_id)
            elif row.stored:
                self._front.catalog.ask(
                    self._command(connection, request, self._front.statuses()), connection
                )
            else:
                raise rpc.RpcError(f"thread not found: {thread_id}")
        except Exception as error:  # noqa: BLE001 - see `_refuse`
            _refuse(connection, request, error, thread_id)

    def take_again(self, incarnation: Incarnation, waiting: list[Pending]) -> None:
        """A thread could not be loaded as one client wanted it; that is no answer to what else it was asked.

        Whatever comes for it waits until the worker is gone, which may have the lock of the thread.
        """

        async def work() -> None:
            await asyncio.shield(incarnation.handle.exited)
            for pending in waiting:
                command, connection = pending.command, pending.connection
                if connection is not None:
                    params = None if command.params == rpc.NULL else command.params
                    request = rpc.ClientRequest(bytes(command.id), command.method, params)
                    self._to_thread(connection, request, METHODS[command.method], incarnation.thread.id)

        self._lanes.run(incarnation.thread.id, work)

    def _load(
        self,
        connection: Connection,
        request: rpc.ClientRequest,
        thread_id: str,
        context: msgspec.Raw = _NO_CONTEXT,
    ) -> None:
        most = self._front.max_threads
        if most and len(self._front.supervisor.threads) >= most:
            raise refusals.too_many_threads(most)
        configuration = self._front.configuration.refresh()
        client = connection.client
        assert client is not None
        info = client.client_info
        adopt = Adopt(
            role="thread",
            thread_id=thread_id,
            home=self._front.home,
            scratch=self._front.runtime.ephemeral,
            server=self._front.runtime.name,
            server_pid=os.getpid(),
            server_lock=self._front.runtime.lock_path,
            layers=configuration.layers,
            originator=info.name,
            user_agent=user_agent(info.name, info.version),
        )
        limits = limits_for(configuration, request.params)
        self._front.supervisor.load(
            thread_id, adopt, connection, self._command(connection, request, context), limits
        )

    def _new_thread(self, connection: Connection, request: rpc.ClientRequest, row: Method) -> None:
        params = decode_params(request.params, row.params)

        async def work() -> None:
            try:
                self._load(connection, request, new_id(), self._unused(source))
            except Exception as error:  # noqa: BLE001 - see `_refuse`
                _refuse(connection, request, error)

        # A fork comes after what is under way with the thread that it is made of, e.g. its return from the archive.
        source = as_canonical(getattr(params, "thread_id", ""))
        if self._lanes.busy(source):
            self._lanes.run(source, work)
        else:
            self._load(connection, request, new_id(), self._unused(source))

    def _unused(self, source: str) -> msgspec.Raw:
        """For a fork: how its source was started, if there is nothing stored of it."""
        thread = self._front.supervisor.threads.get(source)
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
        """Commands and MCP servers run under the configuration as it is now; host workers live long."""
        configured = row.name == "command/exec" or row.without_thread
        return self._front.configuration.refresh().layers if configured else _NO_CONTEXT


def _refuse(connection: Connection, request: rpc.ClientRequest, error: Exception, lane: str = "") -> None:
    """Answer a request that failed. A bug of ours is no reason to leave it open, nor to take other threads down."""
    if isinstance(error, ConfigError):
        error = rpc.RpcError(f"failed to load configuration: {error}")
    elif not isinstance(error, rpc.RpcError):
        log.error("request %s failed", request.method, exc_info=error)
        error = rpc.RpcError(f"internal error: {error}", rpc.INTERNAL_ERROR)
    connection.reply_error(request.id, error, lane)
