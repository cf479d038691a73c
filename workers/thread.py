"""A worker's service to its thread: takes commands one by one, in the order in which clients sent them."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import msgspec

from config.document import Document
from config.errors import ConfigError
from protocol import rpc
from protocol import threads as wire
from protocol.base import Wire
from protocol.items import TextInput, UserInput
from protocol.link import Adopt, Command, Record
from protocol.notifications import (
    DeprecationNotice,
    ThreadReference,
    ThreadStarted,
    ThreadStatusChanged,
    TokenUsageUpdated,
    Warned,
)
from protocol.refusal import decode_params
from protocol.turns import (
    Turn,
    TurnInterruptParams,
    TurnInterruptResponse,
    TurnStartParams,
    TurnStartResponse,
    TurnSteerParams,
    TurnSteerResponse,
)
from rollouts.errors import RolloutError, RolloutNotFound
from rollouts.layout import Home
from rollouts.names import Names
from workers.approvals import Approvals
from workers.catalog import READ_HYDRATION
from workers.link import Link
from workers.loading import resume_session, start_session
from workers.provider import ModelAccess
from workers.session import Session, now_ms
from workers.toolbox import Toolbox
from workers.turn import TurnRun

__all__ = ["ThreadService"]

MAX_INPUT_CHARS = 1_048_576
"""The peer's limit for the text of one input."""
RESUME_HYDRATION = (
    "Full-history hydration is deprecated for paginated threads; use `excludeTurns: true`, "
    "then page with `thread/turns/list` and `thread/items/list`."
)
FAILED = 71
"""A bug of ours or a broken disk: the process ends, and supervision says so."""


class ThreadService:
    def __init__(
        self, adopt: Adopt, link: Link, loop: asyncio.AbstractEventLoop, end: Callable[[int], None]
    ) -> None:
        self._adopt = adopt
        self._link = link
        self._end = end
        self._loop = loop
        self._document = msgspec.json.decode(adopt.layers, type=Document)
        self._session: Session | None = None
        self._approvals: Approvals | None = None
        self._access: ModelAccess | None = None
        self._names = Names(Home(adopt.home))
        self._toolbox = Toolbox()
        self._turn: TurnRun | None = None
        self._stopping = False
        self._commands: asyncio.Queue[tuple[int, Command]] = asyncio.Queue()
        self._handlers: dict[str, Callable[[int, Command], Awaitable[None]]] = {
            "thread/start": self._start,
            "thread/resume": self._resume,
            "thread/read": self._read,
            "turn/start": self._start_turn,
            "turn/steer": self._steer,
            "turn/interrupt": self._interrupt,
        }
        loop.set_exception_handler(self._unhandled)
        self._task = loop.create_task(self._serve())
        self._task.add_done_callback(self._served)

    # --- frames ------------------------------------------------------------------------------------------------

    def command(self, key: int, command: Command) -> None:
        self._commands.put_nowait((key, command))

    def answer(self, key: int, payload: bytes) -> None:
        if self._approvals is not None:
            self._approvals.answer(key, payload)

    def stop(self, payload: bytes) -> None:
        """Interrupt what runs, store everything, end."""
        if not self._stopping:
            self._stopping = True
            materialize = b"true" in payload
            self._loop.create_task(self._stop(materialize=materialize)).add_done_callback(self._served)

    async def _stop(self, *, materialize: bool) -> None:
        self._task.cancel()
        if self._turn is not None and self._turn.task is not None:
            task = self._turn.task
            self._turn.interrupt(lambda: None)
            await asyncio.wait((task,))
        await self._toolbox.terminals.end_all()
        if self._access is not None:
            await self._access.close()
        if self._session is not None:
            if materialize:
                self._session.materialize()
            self._session.writer.sync()
            self._session.close()
        self._end(0)

    def _served(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._unhandled(self._loop, {"exception": task.exception(), "message": "a task failed"})

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Let it crash: a worker in an unknown state is worth less than a new one with the stored history."""
        error = context.get("exception")
        print(f"worker of thread {self._adopt.thread_id}: {context.get('message')}", flush=True)
        if isinstance(error, BaseException):
            traceback.print_exception(error)
        self._end(FAILED)

    # --- commands ----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        if self._adopt.recover_method:
            await self._recover(self._adopt.recover)
        while True:
            key, command = await self._commands.get()
            try:
                handler = self._handlers.get(command.method)
                if handler is None:
                    raise rpc.RpcError(f"workers do not know {command.method}", rpc.INTERNAL_ERROR)
                await handler(key, command)
            except rpc.RpcError as error:
                self._refuse(key, command, error)
            except (ConfigError, RolloutError) as error:
                self._refuse(key, command, rpc.RpcError(str(error)))
            except OSError as error:
                self._refuse(key, command, rpc.RpcError(str(error), rpc.INTERNAL_ERROR))

    def _refuse(self, key: int, command: Command, error: rpc.RpcError) -> None:
        self._link.say(Record.REPLY, key, rpc.error_line(bytes(command.id), error))

    def _reply(self, key: int, command: Command, result: Wire) -> None:
        self._link.say(Record.REPLY, key, rpc.result_line(bytes(command.id), result))

    def _notice(self, key: int, method: str, params: Wire) -> None:
        """A line for the client of this command alone."""
        self._link.say(Record.NOTICE, key, rpc.notification_line(method, params))

    def _settle(self, session: Session) -> None:
        self._session = session
        self._approvals = Approvals(session)
        self._access = ModelAccess(
            self._link, session.settings.provider.id, self._adopt.user_agent, self._adopt.originator
        )
        self._learn_name(session)
        session.tell_facts()

    def _learn_name(self, session: Session) -> None:
        """Names are kept outside of the rollouts, and anybody may have given one since."""
        self._names.refresh()
        session.name = self._names.get(session.id)

    def _loaded(self) -> Session:
        if self._session is None:
            raise rpc.RpcError(f"thread not found: {self._adopt.thread_id}")
        return self._session

    async def _load(self, params: wire.ThreadResumeParams, **how: bool) -> Session:
        """Read a stored thread beside the loop: it may be a gigabyte, and we must answer pings meanwhile."""
        load = partial(resume_session, self._adopt, self._link, self._document, params, **how)
        return await self._loop.run_in_executor(None, load)

    async def _recover(self, params: msgspec.Raw) -> None:
        """The next incarnation of a loaded thread: from its rollout, or from its first request if it has none."""
        adopt = self._adopt
        if adopt.recover_method == "thread/start":
            start = decode_params(params, wire.ThreadStartParams)
            resume = wire.ThreadResumeParams(
                thread_id=adopt.thread_id,
                **{name: getattr(start, name) for name in _SHARED_PARAMS},
            )
        else:
            start, resume = None, decode_params(params, wire.ThreadResumeParams)
        ephemeral = start is not None and bool(start.ephemeral)
        try:
            session = await self._load(resume, ephemeral=ephemeral, recovering=True)
        except RolloutNotFound:
            if start is None:
                raise
            session = start_session(adopt, self._link, self._document, start)
        self._settle(session)
        # Whatever its predecessor was doing is over; the clients were told.
        self._link.say(Record.STATUS, 0, msgspec.json.encode(session.status))

    # --- threads -----------------------------------------------------------------------------------------------

    async def _start(self, key: int, command: Command) -> None:
        params = decode_params(command.params, wire.ThreadStartParams)
        try:
            session = start_session(self._adopt, self._link, self._document, params)
        except ConfigError as error:
            raise rpc.RpcError(f"failed to load configuration: {error}") from None
        self._settle(session)
        self._reply(key, command, session.loaded(wire.ThreadStartResponse))
        session.notify("thread/started", ThreadStarted(thread=session.thread()))

    async def _resume(self, key: int, command: Command) -> None:
        params = decode_params(command.params, wire.ThreadResumeParams)
        session = self._session
        fresh = session is None
        if session is None:
            try:
                session = await self._load(params)
            except ConfigError as error:
                raise rpc.RpcError(f"failed to load configuration: {error}") from None
            self._settle(session)
        elif not session.writer.stored:
            raise rpc.RpcError(f"no rollout found for thread id {session.id}")
        if not params.exclude_turns and session.history_mode == "paginated":
            self._notice(key, "deprecationNotice", DeprecationNotice(summary=RESUME_HYDRATION))
        if fresh:
            recorded, model = session.recorded_model, session.settings.model
            if recorded is not None and recorded != model:
                text = (
                    f"This session was recorded with model `{recorded}` but is resuming with `{model}`. "
                    f"Consider switching back to `{recorded}` as it may affect performance."
                )
                self._notice(key, "warning", Warned(thread_id=session.id, message=text))
            self._notice(
                key, "thread/status/changed", ThreadStatusChanged(thread_id=session.id, status=session.status)
            )
        turns = [] if params.exclude_turns else self._turns(session)
        self._reply(key, command, session.resumed(turns=turns))
        if session.turns:
            usage = TokenUsageUpdated(
                thread_id=session.id, turn_id=session.turns[-1].id, token_usage=session.usage_notice()
            )
            session.notify("thread/tokenUsage/updated", usage)
        session.notify("thread/goal/cleared", ThreadReference(thread_id=session.id))

    async def _read(self, key: int, command: Command) -> None:
        params = decode_params(command.params, wire.ThreadReadParams)
        session = self._loaded()
        turns: list[Turn] = []
        if params.include_turns:
            if session.ephemeral:
                raise rpc.RpcError("ephemeral threads do not support includeTurns")
            if not session.turns:
                raise rpc.RpcError("list_turns is not supported yet", rpc.METHOD_UNSUPPORTED)
            if session.history_mode == "paginated":
                self._notice(key, "deprecationNotice", DeprecationNotice(summary=READ_HYDRATION))
            turns = self._turns(session)
        self._learn_name(session)
        self._reply(key, command, wire.ThreadReadResponse(thread=session.thread(turns=turns)))

    @staticmethod
    def _turns(session: Session) -> list[Turn]:
        return [msgspec.structs.replace(turn, items_view="full") for turn in session.turns]

    # --- turns -------------------------------------------------------------------------------------------------

    async def _start_turn(self, key: int, command: Command) -> None:
        params = decode_params(command.params, TurnStartParams)
        session = self._loaded()
        _check_input(params.input)
        running = self._turn
        if running is not None and running.ending and running.task is not None:
            # Input for a turn that is being interrupted would be lost: it is for the next one.
            await asyncio.wait((running.task,))
            running = self._turn
        if running is not None:
            # As the peer: a turn/start while a turn runs steers it.
            session.override(params)
            self._reply(key, command, TurnStartResponse(turn=_fresh(running.id)))
            running.steer(params.input, params.client_user_message_id)
            return
        session.override(params)
        assert self._access is not None
        assert self._approvals is not None
        turn = self._turn = TurnRun(
            session,
            self._access,
            self._toolbox,
            self._approvals,
            params.input,
            client_id=params.client_user_message_id,
            output_schema=params.output_schema,
        )
        reply = rpc.result_line(bytes(command.id), TurnStartResponse(turn=_fresh(turn.id)))
        session.accept_turn(key, turn.id, now_ms(), reply)
        turn.start(self._turn_ended)

    def _turn_ended(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and turn.task is not None:
            with suppress(asyncio.CancelledError):
                if turn.task.exception() is not None:
                    self._served(turn.task)

    async def _steer(self, key: int, command: Command) -> None:
        params = decode_params(command.params, TurnSteerParams)
        self._loaded()
        if self._turn is None or self._turn.ending:
            raise rpc.RpcError("no active turn to steer")
        if params.expected_turn_id != self._turn.id:
            raise rpc.RpcError(
                f"expected active turn id `{params.expected_turn_id}` but found `{self._turn.id}`"
            )
        if not params.input:
            raise rpc.RpcError("input must not be empty")
        _check_input(params.input)
        self._reply(key, command, TurnSteerResponse(turn_id=self._turn.id))
        self._turn.steer(params.input, params.client_user_message_id)

    async def _interrupt(self, key: int, command: Command) -> None:
        params = decode_params(command.params, TurnInterruptParams)
        self._loaded()
        if self._turn is None or self._turn.over:
            raise rpc.RpcError("no active turn to interrupt")
        if params.turn_id and params.turn_id != self._turn.id:
            raise rpc.RpcError(f"expected active turn id {params.turn_id} but found {self._turn.id}")
        # The answer comes when the turn is over; other commands do not wait for that.
        self._turn.interrupt(lambda: self._reply(key, command, TurnInterruptResponse()))


_SHARED_PARAMS = tuple(
    name
    for name in wire.ThreadResumeParams.__struct_fields__
    if name in wire.ThreadStartParams.__struct_fields__
)


def _fresh(turn_id: str) -> Turn:
    return Turn(id=turn_id, root_turn_id=turn_id, status="inProgress")


def _check_input(items: list[UserInput]) -> None:
    chars = sum(len(item.text) for item in items if isinstance(item, TextInput))
    if chars > MAX_INPUT_CHARS:
        raise rpc.RpcError(
            f"Input exceeds the maximum length of {MAX_INPUT_CHARS} characters.",
            rpc.INVALID_PARAMS,
            {"input_error_code": "input_too_large", "max_chars": MAX_INPUT_CHARS, "actual_chars": chars},
        )
