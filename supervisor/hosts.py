"""Host workers, as the front sees them: one a connection, for what a client does on the machine without a thread.

A host worker runs the commands, watches, searches and file operations of its connection, many at a time. It is
started at the first such request and ends with the connection, and everything it holds with it. If it dies, what was
asked of it is answered with an error and the next request gets another one; there is nothing to restore.

What it says obeys the same credits as what threads say, in a lane of its own: a flooding command holds up no thread,
and a client that does not read holds up its own commands.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import time
from typing import Protocol

import msgspec

from protocol import rpc
from protocol.base import Wire
from protocol.link import Adopt, Command, Frame, Record, TornRecord, records
from protocol.notifications import Warned
from supervisor import refusals
from supervisor.broker import Broker
from supervisor.hub import Hub
from supervisor.launcher import Exit, Handle, LaunchError
from supervisor.nursery import Nursery
from supervisor.outbox import Done

__all__ = ["Hosts"]

log = logging.getLogger("bulkhead.hosts")

LANE = "host"
"""In the outbox; lanes of threads have the ids of threads."""
REQUEST_LIMIT = 1024
"""Unanswered requests of one connection; each may hold a thread or a process."""
CREDIT_DELAY_S = 0.2
"""Small rests of credit are given back too, but not one by one."""
SHORT_COMMAND_S = 1.0
"""At the end of its input a client may still want the answers to what it asked, but not those of a long command."""
_encode = msgspec.json.Encoder().encode


class HostClient(Protocol):
    """Whose host worker it is: a connection, or what stands in its place."""

    @property
    def outbox(self) -> HostOutbox: ...

    def pass_on(self, lane: str, lines: bytes, done: Done | None = None, owed: int = 0) -> None: ...

    def notify(self, method: str, params: Wire, lane: str = "") -> None: ...


class HostOutbox(Protocol):
    def push(self, lane: str, line: bytes, done: Done | None = None, owed: int = 0) -> None: ...


class _Pending(msgspec.Struct):
    command: Command
    since: float


class _Host:
    """The host worker of one connection, as the hub's peer. It is `lost` once its process has ended."""

    handle: Handle

    def __init__(self, hosts: Hosts, connection: HostClient) -> None:
        self.connection = connection
        self.pending: dict[int, _Pending] = {}
        self.employed = False
        self.dismissed = False
        self._hosts = hosts
        self._received = 0
        self._owed = 0
        self._credit_timer = False

    def ask(self, key: int, command: Command) -> None:
        self.pending[key] = _Pending(command, time.monotonic())
        if self.employed:
            self._send(key, command)

    def employ(self, handle: Handle) -> None:
        if self.dismissed:
            handle.signal(signal.SIGKILL)
            self._hosts.hub.detach(handle.token)
            return
        self.handle = handle
        self.employed = True
        hub = self._hosts.hub
        hub.attach(handle.token, self)
        handle.exited.add_done_callback(self._ended)
        hub.send(handle.token, Frame.ADOPT, 0, _encode(self._hosts.adopt))
        for key, pending in self.pending.items():
            self._send(key, pending.command)

    def _send(self, key: int, command: Command) -> None:
        self._hosts.hub.send(self.handle.token, Frame.COMMAND, key, _encode(command))

    def cannot_start(self, error: LaunchError) -> None:
        self.refuse(refusals.no_worker(error))
        self._hosts.lost(self)

    def on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == Frame.CALL:
            token = self.handle.token
            hub = self._hosts.hub
            self._hosts.broker.take(
                token, "", payload, lambda text: hub.send(token, Frame.RETURN, number, text)
            )
            return
        if kind != Frame.STREAM:
            return
        if number != self._received:
            log.error("a host worker's stream has a gap (%d, not %d)", number, self._received)
            self.handle.signal(signal.SIGKILL)
            return
        self._received += len(payload)
        try:
            for record, key, body, size in records(payload):
                self._take(record, key, body, size)
        except TornRecord:
            self.handle.signal(signal.SIGKILL)

    def _take(self, record: int, key: int, body: bytes, size: int) -> None:
        if record == Record.EVENTS:
            self.connection.pass_on(LANE, body, self._release, size)
        elif record == Record.REPLY and self.pending.pop(key, None) is not None:
            self.connection.outbox.push(LANE, body, self._release, size)
        else:
            self._release(size)

    def _release(self, size: int) -> None:
        self._owed += size
        if self._owed * 2 >= self._hosts.adopt.credit:
            self._give_credit()
        elif not self._credit_timer:
            self._credit_timer = True
            asyncio.get_running_loop().call_later(CREDIT_DELAY_S, self._give_credit)

    def _give_credit(self) -> None:
        self._credit_timer = False
        if self._owed and not self.handle.exited.done():
            self._hosts.hub.send(self.handle.token, Frame.CREDIT, self._owed)
            self._owed = 0

    def refuse(self, error: rpc.RpcError) -> None:
        pending, self.pending = self.pending, {}
        for item in pending.values():
            self.connection.outbox.push(LANE, rpc.error_line(bytes(item.command.id), error))

    def dismiss(self) -> None:
        """End the process and all that it started: what a dead worker leaves behind is ended by the zygote."""
        self.dismissed = True
        if self.employed:
            self.handle.signal(signal.SIGKILL)

    def _ended(self, exited: asyncio.Future[Exit]) -> None:
        hub = self._hosts.hub
        hub.drain()
        hub.detach(self.handle.token)
        if self.dismissed:
            return
        end = exited.result()
        log.warning("a host worker ended with %d requests (%s)", len(self.pending), end)
        text = f"the process that served this request ended ({end})"
        self.refuse(rpc.RpcError(text, rpc.INTERNAL_ERROR))
        self.connection.notify(
            "warning",
            Warned(message=f"Commands, watches and searches of this connection were lost: {text}"),
            LANE,
        )
        self._hosts.lost(self)


class Hosts:
    """`adopt` is what every host worker gets; its `credit` is the window in bytes."""

    def __init__(self, hub: Hub, nursery: Nursery, adopt: Adopt, broker: Broker) -> None:
        self.hub = hub
        self.broker = broker
        self.adopt = adopt
        self._nursery = nursery
        self._hosts: dict[HostClient, _Host] = {}
        self._keys = itertools.count(1)
        self._closed = False

    def busy(self, connection: HostClient | None) -> bool:
        """Whether this client, or any, waits for an answer that will come soon."""
        now = time.monotonic()
        return any(
            pending.command.method != "command/exec" or now - pending.since < SHORT_COMMAND_S
            for host in self._hosts.values()
            if connection is None or host.connection is connection
            for pending in host.pending.values()
        )

    def ask(self, command: Command, connection: HostClient) -> None:
        """Pass a client's request on.

        Raises:
            RpcError: too many are under way, or the server ends.
        """
        if self._closed:
            raise refusals.shutting_down()
        host = self._hosts.get(connection)
        if host is None:
            host = self._hosts[connection] = _Host(self, connection)
            self._nursery.adopt(host.employ, host.cannot_start)
        if len(host.pending) >= REQUEST_LIMIT:
            raise refusals.too_many_requests(REQUEST_LIMIT)
        host.ask(next(self._keys), command)

    def lost(self, host: _Host) -> None:
        if self._hosts.get(host.connection) is host:
            del self._hosts[host.connection]

    def forget(self, connection: HostClient) -> None:
        """The client is gone, and nobody else can want what it had started."""
        host = self._hosts.pop(connection, None)
        if host is not None:
            host.dismiss()

    def close(self) -> None:
        """End them all; what they were asked is refused."""
        self._closed = True
        hosts, self._hosts = self._hosts, {}
        for host in hosts.values():
            host.refuse(refusals.shutting_down())
            host.dismiss()
