"""The back and forth with the model: one response after the other, with all the tool calls in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import msgspec

from protocol.turns import TurnError
from workers.hooks.of_request import RequestHooks
from workers.instructions import message
from workers.meter import Meter
from workers.models.errors import ContextWindowError, ModelError
from workers.models.events import Completed, RateLimits, Retrying
from workers.models.request import ModelRequest
from workers.models.stream import open_stream
from workers.provider import ModelAccess
from workers.response import Response
from workers.session import Session
from workers.toolbox import Toolbox
from workers.tools.tool import TurnScope

__all__ = ["Dialogue"]


class Dialogue:
    """`retrying` is told of errors after which the stream is opened again."""

    def __init__(
        self,
        scope: TurnScope,
        access: ModelAccess,
        toolbox: Toolbox,
        meter: Meter,
        retrying: Callable[[TurnError], None],
        *,
        output_schema: Any = None,
        service_tier: str | None = None,
    ) -> None:
        self._session: Session = scope.session
        self._scope = scope
        self._access = access
        self._toolbox = toolbox
        self._meter = meter
        self._retrying = retrying
        self._schema = output_schema
        self._tier = service_tier
        self._response: Response | None = None
        self._stream: asyncio.Task[bool] | None = None
        self._stopping = False
        self._hooks = RequestHooks(scope.hooks)

    def drop(self) -> None:
        """There is news for the model: what it is saying is dropped, unless it has called a tool."""
        response, stream = self._response, self._stream
        if stream is not None and not stream.done() and response is not None and not response.calls_tools:
            stream.cancel()

    async def stop(self) -> None:
        """The turn is interrupted: calls are answered, usage is told."""
        self._stopping = True
        if self._response is not None:
            await self._response.abandon()
        if self._meter.waiting:
            self._meter.tell_usage()

    async def respond(self) -> bool:
        """One response of the model with all its tool calls; whether it has to be asked again."""
        self._stream = asyncio.ensure_future(self._read_response())
        try:
            return await self._stream
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._stopping or (current is not None and current.cancelling()):
                self._stream.cancel()
                await asyncio.wait((self._stream,))
                raise
            return True  # dropped: the model is asked again
        finally:
            self._stream = None

    def _request(self) -> ModelRequest:
        session = self._session
        request = self._access.request(session, self._toolbox.definitions(session), self._schema)
        return request if self._tier is None else msgspec.structs.replace(request, service_tier=self._tier)

    async def _resume(self) -> ModelRequest:
        """After a stream that broke off: what it said in full stands, and its calls are carried out once."""
        assert self._response is not None
        await self._response.begin_again()
        await self._hooks.begin()
        return self._request()

    async def _read_response(self) -> bool:
        session = self._session
        provider = await self._access.provider(session.settings.provider)
        admission = self._access.admission()
        session.pursuit.costs.response_began()
        response = self._response = Response(
            session, self._scope, self._toolbox, calls_wait=self._hooks.wait_for_answers
        )
        try:
            await self._hooks.begin()
            stream = open_stream(
                provider,
                self._request(),
                admission.headers,
                self._access.client,
                self._access.turn_headers(session, self._scope.turn_id),
                admission=admission,
                again=self._resume,
                failed=self._hooks.end,
            )
            async with aclosing(stream) as events:
                async for event in events:
                    if isinstance(event, Completed):
                        self._meter.count(event)
                        self._hooks.count(event.usage)
                    elif isinstance(event, RateLimits):
                        session.rate_limits = event.snapshot
                        if not self._meter.waiting:
                            # A response without usage: one that failed, or whose server does not count.
                            self._meter.tell_limits()
                    elif isinstance(event, Retrying):
                        self._retrying(
                            TurnError(
                                message=event.message,
                                codex_error_info=event.info,
                                additional_details=event.details,
                            )
                        )
                        if self._meter.waiting:
                            self._meter.tell_usage()
                    else:
                        response.take(event)
                    if session.link.congested:
                        # The clients are behind: leave the rest in the socket, so that TCP holds the model up.
                        await session.link.ready()
            await self._hooks.end()
            await response.finish_calls()
            for text in self._scope.news:
                session.remember(message("developer", text))
            self._scope.news.clear()
            if response.carried_out:
                session.pursuit.account()
            if self._meter.waiting:
                self._meter.tell_usage()
            else:
                self._meter.tell_diff()
        except ModelError as error:
            # Calls that the failed response made are over too; each has its output in the history.
            await response.abandon()
            await self._toolbox.terminals.end_unanswered()
            if self._meter.waiting:
                self._meter.tell_usage()
            if isinstance(error, ContextWindowError):
                session.needs_compaction = True
                self._meter.tell_full()
            raise
        except asyncio.CancelledError:
            # Interrupted or dropped: what is known of usage and limits is told all the same.
            self._hooks.drop()
            await response.abandon()
            if self._meter.waiting:
                self._meter.tell_usage()
            elif response.begun:
                self._meter.tell_limits()
            raise
        limit = session.settings.auto_compact_limit
        if limit and session.last_usage.total_tokens >= limit:
            session.needs_compaction = True
        return response.calls_tools
