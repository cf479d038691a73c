"""A worker's service to its thread: takes commands one by one, in the order in which clients sent them.

What each method does stands in `workers/methods/`; this holds what they share: the loaded session, the running turn,
the way to the clients, and the end.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from functools import partial

import msgspec

from config.document import Document
from config.errors import ConfigError
from config.resolve import ThreadOverrides
from protocol import rpc
from protocol import threads as wire
from protocol.forks import ThreadForkParams
from protocol.link import HIBERNATED, Adopt, Command, Record, StopOrder
from protocol.link_calls import UnusedSource
from protocol.refusal import decode_params
from rollouts.errors import RolloutError, RolloutNotFound, WriterBusy
from rollouts.layout import Home
from rollouts.lease import Lease, write_lease
from rollouts.names import Names
from rollouts.notes import Notes
from workers.approvals import Approvals
from workers.asides import Asides
from workers.bounds import Bounds
from workers.call import Call
from workers.forking import fork_session, fork_unused
from workers.hooks.of_turn import end_session
from workers.link import Link
from workers.loading import begin_from_items, resume_session, start_session
from workers.mcp.of_thread import ThreadServers
from workers.methods.registry import METHODS
from workers.provider import ModelAccess
from workers.recovery import Recovery
from workers.session import Session
from workers.skills import found_again
from workers.toolbox import Toolbox
from workers.tools.patch_run import put_back as put_back_patch
from workers.turns import Turns

__all__ = ["ThreadService"]

FAILED = 71
"""A bug of ours or a broken disk: the process ends, and supervision says so."""


class ThreadService:
    """One thread. `session`, `approvals` and `access` exist from `begin` or `load` on."""

    approvals: Approvals
    access: ModelAccess

    def __init__(
        self, adopt: Adopt, link: Link, loop: asyncio.AbstractEventLoop, end: Callable[[int], None]
    ) -> None:
        self.adopt = adopt
        self.link = link
        self.session: Session | None = None
        self.mcp = ThreadServers(self)
        self.toolbox = Toolbox(self.mcp.servers)
        self.bounds = Bounds(adopt.memory_mib, adopt.turn_cpu_s)
        self.turns = Turns(self)
        self.asides = Asides(loop, self._aside_ended)
        self.skills_changed = False
        """Whether there may be other skills than those that the session knows."""
        self._end = end
        self._loop = loop
        self._document = msgspec.json.decode(adopt.layers, type=Document)
        self._names = Names(Home(adopt.home))
        self._notes = Notes(Home(adopt.home))
        self._stopping = self.held = False
        self._drowsy = False
        """Whether it was to sleep, and only what ends by itself kept it awake: its loading, a request, MCP servers."""
        self.overrides = ThreadOverrides()
        self._answering = True
        self._recovered = asyncio.Event()
        """Set once it has what its predecessors had, if there were any."""
        self._commands: asyncio.Queue[tuple[int, Command]] = asyncio.Queue()
        loop.set_exception_handler(self._unhandled)
        self._task = loop.create_task(self._serve())
        self._task.add_done_callback(self.check)

    # --- frames ------------------------------------------------------------------------------------------------

    def command(self, key: int, command: Command) -> None:
        self._drowsy = False
        self._commands.put_nowait((key, command))

    def answer(self, key: int, payload: bytes) -> None:
        if self.session is not None:
            self.approvals.answer(key, payload)

    def stop(self, payload: bytes) -> None:
        """Interrupt what runs, store everything, end."""
        if not self._stopping:
            self._stopping = True
            order = msgspec.json.decode(payload, type=StopOrder)
            self._loop.create_task(self._stop(order)).add_done_callback(self.check)

    def sleep(self) -> None:
        """End, if nothing is under way that a successor could not take up from the rollout."""
        if self._stopping or self.turns.current is not None or not self._commands.empty():
            return
        if self._answering:
            self._drowsy = True
            return
        if self.session is None or not self.toolbox.terminals.idle or not self.approvals.idle:
            return
        if not self.asides.idle or not self.mcp.servers.idle or not self.session.hooks.idle:
            # The front asks again in half a minute; a server has started, or answered, long before.
            self._drowsy = True
            return
        adopt = self.adopt
        if not self.session.ephemeral:
            lease = Lease(server=adopt.server, pid=adopt.server_pid, lock=adopt.server_lock)
            try:
                write_lease(Home(adopt.home), self.session.id, lease)
            except OSError as error:
                print(f"no lease, so the thread stays awake: {error}")
                return
        self._stopping = True
        self._loop.create_task(self._stop(StopOrder(), code=HIBERNATED)).add_done_callback(self.check)

    @property
    def unoccupied(self) -> bool:
        """Whether it neither answers a command nor has one waiting, and is not about to end."""
        return not self._stopping and not self._answering and self._commands.empty()

    def hold(self, *, held: bool) -> None:
        """Whether turns for a goal wait: the thread is to come to rest, or goes on."""
        self.held = held
        if self.session is not None:
            self.session.pursuit.held = held
            self.turns.pursue_goal()

    async def _stop(self, order: StopOrder, *, code: int = 0) -> None:
        if order.recovered:
            await self._recovered.wait()
        self._task.cancel()
        if self.session is not None:
            self.session.hooks.ending = True
        await self.turns.interrupt()
        await asyncio.gather(self.toolbox.terminals.end_all(), self.mcp.servers.close())
        if self.session is not None:
            if order.last:
                await end_session(self.session)
            await self.session.hooks.close(self.session)
            await self.access.close()
            if order.materialize:
                self.session.materialize()
            self.session.writer.sync()
            self.session.close()
        self._end(code)

    def check(self, task: asyncio.Task[None]) -> None:
        """A task of the thread's has ended: if it failed, so does the worker."""
        if not task.cancelled() and task.exception() is not None:
            self._unhandled(self._loop, {"exception": task.exception(), "message": "a task failed"})

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Let it crash: a worker in an unknown state is worth less than a new one with the stored history."""
        error = context.get("exception")
        print(f"worker of thread {self.adopt.thread_id}: {context.get('message')}", flush=True)
        if isinstance(error, BaseException):
            traceback.print_exception(error)
        self._end(FAILED)

    # --- commands ----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        if self.adopt.recover_method:
            await self._recover()
        self._recovered.set()
        is_open = bool(self.adopt.recover_method)
        while True:
            self._answering = False
            self.turns.pursue_goal()
            self.sleep_at_last()
            key, command = await self._commands.get()
            self._answering = True
            is_open = await self._answer(key, command) or is_open
            if not is_open:
                return  # it could not be loaded: what else was asked is for another worker, if for anybody

    async def _answer(self, key: int, command: Command) -> bool:
        """False: it was refused."""
        try:
            method = METHODS.get(command.method)
            if method is None:
                raise rpc.RpcError(f"workers do not know {command.method}", rpc.INTERNAL_ERROR)
            await method(self, Call(self.link, key, command))
        except rpc.RpcError as error:
            self._refuse(key, command, error)
        except WriterBusy as error:
            holder = f" (process {error.holder})" if error.holder else ""
            self._refuse(key, command, rpc.RpcError(f"{error}{holder}"))
        except ConfigError as error:
            self._refuse(key, command, rpc.RpcError(str(error)))
        except RolloutError as error:
            self._refuse(key, command, rpc.RpcError(str(error), error.code))
        except OSError as error:
            self._refuse(key, command, rpc.RpcError(str(error), rpc.INTERNAL_ERROR))
        else:
            return True
        return False

    def _refuse(self, key: int, command: Command, error: rpc.RpcError) -> None:
        self.link.say(Record.REPLY, key, rpc.error_line(bytes(command.id), error))

    async def _recover(self) -> None:
        """The next incarnation of a loaded thread: from its rollout, or from its first request if it has none."""
        recovery = Recovery.of(self.adopt)
        try:
            await self.load(recovery.resume, ephemeral=recovery.ephemeral, recovering=True)
        except RolloutNotFound:
            if recovery.start is None:
                raise
            self.begin(recovery.start)
        # Whatever its predecessor was doing is over; the clients were told.
        session = self.loaded()
        self.link.say(Record.STATUS, 0, msgspec.json.encode(session.status))
        session.hooks.begun = None if session.turns else "startup"
        self.mcp.start()
        self.turns.goal_due = session.pursuit.recovered(session.turns[-1] if session.turns else None)

    # --- for the methods ---------------------------------------------------------------------------------------

    def loaded(self) -> Session:
        """The session. Raises RpcError while the thread is not loaded."""
        if self.session is None:
            raise rpc.RpcError(f"thread not found: {self.adopt.thread_id}")
        return self.session

    def begin(self, params: wire.ThreadStartParams) -> Session:
        """Make a new thread's session."""
        session = self._settle(start_session(self.adopt, self.link, self._document, params), params)
        session.hooks.begun = params.session_start_source or "startup"
        return session

    async def load(self, params: wire.ThreadResumeParams, **how: bool) -> Session:
        """Read a stored thread beside the loop: it may be a gigabyte, and we must answer pings meanwhile."""
        work = partial(resume_session, self.adopt, self.link, self._document, params, **how)
        session = self._settle(await self._loop.run_in_executor(None, work), params)
        await put_back_patch(session)
        session.hooks.begun = "resume"
        return session

    def begin_from_items(self, params: wire.ThreadResumeParams) -> Session:
        """Make a new thread's session with items of the client's."""
        return self._settle(begin_from_items(self.adopt, self.link, self._document, params), params)

    async def fork(self, params: ThreadForkParams, unused: UnusedSource) -> Session:
        """Make a new thread's session from a stored one, beside the loop as in `load`."""
        work: Callable[[], Session]
        if unused.started != rpc.NULL:
            start = decode_params(unused.started, wire.ThreadStartParams)
            work = partial(fork_unused, self.adopt, self.link, self._document, params, start)
        else:
            work = partial(fork_session, self.adopt, self.link, self._document, params)
        session = self._settle(await self._loop.run_in_executor(None, work), params)
        session.hooks.begun = "fork"
        source = session.writer.meta.forked_from_id
        if source is not None and (name := self._names.get(source)) is not None:
            if session.ephemeral:
                session.name = name  # nothing of it is kept
            else:
                self._names.set(session.id, name)
                self.learn_name(session)
        return session

    def _settle(
        self, session: Session, params: wire.ThreadStartParams | wire.ThreadResumeParams | ThreadForkParams
    ) -> Session:
        self.overrides = ThreadOverrides.of(params)
        self.approvals = Approvals(session)
        self.access = ModelAccess(
            self.link, session.settings.provider.id, self.adopt.user_agent, self.adopt.originator
        )
        self.session = session
        session.hooks.servers = self.mcp.servers
        session.pursuit.held = self.held
        if self.adopt.mcp_layers != rpc.NULL:
            self.mcp.take(bytes(self.adopt.mcp_layers))
        self.learn_name(session)
        session.tell_facts()
        return session

    def _aside_ended(self, task: asyncio.Task[None]) -> None:
        self.check(task)
        self.sleep_at_last()

    def sleep_at_last(self) -> None:
        if self._drowsy:
            self.sleep()

    def learn_name(self, session: Session) -> None:
        """Names and the like are kept outside of the rollouts, and anybody may have given one since."""
        self._names.refresh()
        session.name = self._names.get(session.id)
        session.note = self._notes.get(session.id)

    async def refresh_skills(self) -> None:
        """Before a turn: look for skills again if they have changed."""
        session = self.session
        if self.skills_changed and session is not None:
            self.skills_changed = False
            work = partial(found_again, session.settings, session.home)
            skills = await self._loop.run_in_executor(None, work)
            session.settings = msgspec.structs.replace(session.settings, skills=skills)
