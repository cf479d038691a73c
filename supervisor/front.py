"""The front: connections on one side, workers on the other, and the table between them.

It decodes what a client sends, finds the row of the method, and either answers (owner: front), passes the request to
the worker of the thread, or to the catalog. What workers say goes to clients as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from protocol import rpc
from protocol.base import Wire
from protocol.link import Adopt
from protocol.notifications import ThreadStatusChanged
from protocol.threads import NotLoadedStatus
from rollouts.errors import RolloutError
from rollouts.ids import canonical_id
from supervisor.accounts import Accounts
from supervisor.addressing import as_canonical
from supervisor.broker import Broker
from supervisor.catalog import Catalog
from supervisor.channel import Channel
from supervisor.configuration import Configuration
from supervisor.connection import Connection
from supervisor.hibernation import Hibernation
from supervisor.hosts import Hosts
from supervisor.hub import Hub
from supervisor.idle import IdleThreads
from supervisor.journal import Journal
from supervisor.lanes import Lanes
from supervisor.limits import LimitWatch
from supervisor.loaded import LoadedThread
from supervisor.logins import Logins
from supervisor.mcp_logins import McpLogins
from supervisor.metrics import LoopLag, Metrics
from supervisor.nursery import Nursery
from supervisor.offered_models import OfferedModels
from supervisor.requests import Requests
from supervisor.runtime import RuntimeDirectory
from supervisor.skill_watch import SkillWatch
from supervisor.stalls import Stalls
from supervisor.supervision import Supervisor
from supervisor.v1.adapter import Adapter
from supervisor.watchdog import Watchdog
from supervisor.zygote import ZygoteLauncher, ZygoteSpec
from supervisor.zygote_process import Zygote

__all__ = ["Front"]

log = logging.getLogger("bulkhead.front")

SETTLE_S = 3.0
"""A request that takes longer than this at the server's end is interrupted like a turn."""
SETTLE_LOOK_S = 0.005


class Front:
    """One server. Make it inside the running loop, `attach` its clients, `close` it."""

    def __init__(self, configuration: Configuration, runtime: RuntimeDirectory, zygote: Zygote) -> None:
        self.configuration = configuration
        self.home = configuration.home
        self.runtime = runtime
        settings = configuration.settings.bulkhead
        self.max_threads = settings.max_threads
        self.hub = Hub(runtime.hub_socket)
        self.launcher = ZygoteLauncher(
            ZygoteSpec(
                endpoint=self.hub.endpoint,
                stacks=runtime.stacks,
                processes=runtime.processes,
                nice=settings.worker_nice,
                mcp=bool(configuration.document.merged().get("mcp_servers")),
            ),
            zygote,
        )
        self.nursery = Nursery(self.launcher, self.hub, settings.parked_workers)
        self.accounts = Accounts(configuration, self.tell_all)
        self.mcp_logins = McpLogins(configuration, self.tell_all)
        self.broker = Broker(configuration, self.accounts, self.mcp_logins)
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
            self.hub,
            self.nursery,
            Adopt(
                role="host",
                home=self.home,
                runtime=runtime.base,
                processes=runtime.processes,
                credit=settings.credit_bytes,
            ),
            self.broker,
        )
        self.watchdog = Watchdog(self.supervisor, self.hub, settings, runtime.stacks)
        self.hibernation = Hibernation(self.supervisor, self.hub, settings)
        self.limits = LimitWatch(self.supervisor, self.hibernation, self.supervisor.logs)
        self.connections: set[Connection] = set()
        self.stalls = Stalls(self.connections, settings.client_stall_s, self.journal)
        idle = IdleThreads(self, settings.idle_unload_s)
        self.skills = SkillWatch(self.hosts, self.hub, self.supervisor, self.connections)
        self.supervisor.relay.skills_found = self.skills.heed
        self._watches = (self.watchdog, self.hibernation, self.limits, self.lag, self.stalls, idle)
        self.lanes = Lanes()
        self._adapters: dict[Connection, Adapter] = {}
        self._requests = Requests(self)
        self.supervisor.not_loaded = self._requests.take_again

    def start(self) -> None:
        self.launcher.start()
        self.nursery.start()
        for watch in self._watches:
            watch.start()
        for left in self.runtime.reaped:
            self.journal.note("reaped", server=left.server, pids=left.pids)

    def attach(self, name: str, channel: Channel, gone: Callable[[Connection], None]) -> Connection:
        """A new client; `gone` is called when it has closed its end. It may still read: see `detach`."""
        connection = Connection(name, channel, on_message=self._requests.take, on_gone=gone)
        self.connections.add(connection)
        connection.start()
        return connection

    def detach(self, connection: Connection) -> None:
        """The client is gone for good; its threads go on for others."""
        self.connections.discard(connection)
        connection.detached = True
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
            if not waiting and not busy and not self._requests.busy:
                return
            await asyncio.sleep(SETTLE_LOOK_S)

    async def close(self) -> None:
        """Interrupt and store what runs, deliver what is left, end all processes."""
        for watch in self._watches:
            watch.close()
        await self.logins.end()
        await self.mcp_logins.close()
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
        """Stop a thread's worker for good, and tell its clients. Requests do it in the thread's lane."""
        audience = set(thread.subscribers)
        if not await self.supervisor.unload(thread, materialize=materialize):
            return
        closed = ThreadStatusChanged(thread_id=thread.id, status=NotLoadedStatus())
        for subscriber in audience:
            subscriber.notify("thread/status/changed", closed, thread.id)

    @staticmethod
    def check_id(text: str, otherwise: str) -> None:
        try:
            canonical_id(text)
        except RolloutError:
            raise rpc.RpcError(otherwise) from None

    def statuses(self) -> msgspec.Raw:
        """The status of each loaded thread, for lists."""
        statuses = {
            thread.id: msgspec.Raw(thread.status)
            for thread in self.supervisor.threads.values()
            if thread.loaded
        }
        return msgspec.Raw(msgspec.json.encode(statuses))
