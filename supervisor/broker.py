"""The credential broker: only the front has credentials; workers get the headers of one request, when it may begin."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import msgspec

from auth.credentials import credentials_of, headers_for, uses_chatgpt
from auth.errors import AuthError, RefreshError
from auth.keeper import fingerprint
from auth.record import AuthRecord
from config.errors import ConfigError
from config.providers import ModelProvider, find_provider
from protocol.link_calls import (
    Authorization,
    AuthorizeCall,
    McpTokenAnswer,
    McpTokenCall,
    StreamEnded,
    Throttled,
)
from supervisor.accounts import Accounts
from supervisor.configuration import Configuration
from supervisor.limiter import Gate, Holder, Limiter
from supervisor.mcp_logins import McpLogins

__all__ = ["Broker"]

log = logging.getLogger("bulkhead.broker")

DEFAULT_MAX_STREAMS = 16
"""For providers elsewhere: more than a person's threads need, less than what makes them refuse all of an account's."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Answer = Callable[[bytes], None]
_decode = msgspec.json.Decoder(AuthorizeCall | StreamEnded | Throttled | McpTokenCall).decode
_encode = msgspec.json.Encoder().encode


class Broker:
    def __init__(self, configuration: Configuration, accounts: Accounts, mcp_logins: McpLogins) -> None:
        self._configuration = configuration
        self._accounts = accounts
        self._mcp_logins = mcp_logins
        self.limiter = Limiter()
        self._tasks: dict[tuple[bytes, int], asyncio.Task[None]] = {}
        """Streams that are waited for, by worker and its number for them."""
        self._others: set[asyncio.Task[None]] = set()

    def take(self, worker: bytes, thread: str, payload: bytes, answer: Answer) -> None:
        """A worker's call. `answer` is called with what comes back, at once where there is nothing to wait for."""
        try:
            call = _decode(payload)
            if isinstance(call, McpTokenCall):
                self._keep(self._mcp_token(call, answer))
                return
            provider = find_provider(self._configuration.document, call.provider)
            gate = self.limiter.gate(call.provider, self._limit(call.provider, provider))
        except (ConfigError, msgspec.MsgspecError) as error:
            answer(_encode(Authorization(problem=str(error))))
            return
        if isinstance(call, StreamEnded):
            self._ended(worker, call, gate)
        elif isinstance(call, Throttled):
            gate.pause(call.wait_s)
            log.info("provider %s: no stream begins for %.1f s", call.provider, gate.paused_s)
        elif not provider.requires_openai_auth and not call.stream:
            try:
                authorization = self._authorization(provider, None, gate)
            except AuthError as error:
                authorization = Authorization(problem=str(error))
            answer(_encode(authorization))
        else:
            holder = worker, call.stream
            work = self._work(holder, call, provider, gate, thread=thread, answer=answer)
            task = asyncio.ensure_future(work)
            if call.stream:
                key = worker, call.stream
                self._tasks[key] = task
                task.add_done_callback(lambda _: self._tasks.pop(key, None))
            else:
                self._others.add(task)
                task.add_done_callback(self._others.discard)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def _mcp_token(self, call: McpTokenCall, answer: Answer) -> None:
        found = McpTokenAnswer()
        try:
            found = await self._mcp_logins.access_token(call)
        except Exception:
            log.exception("a worker's call failed")
        answer(_encode(found))

    def forget(self, worker: bytes) -> None:
        """The worker is dead."""
        for key in [key for key in self._tasks if key[0] == worker]:
            self._tasks[key].cancel()
        self.limiter.forget(worker)

    def _ended(self, worker: bytes, call: StreamEnded, gate: Gate) -> None:
        waiting = self._tasks.get((worker, call.stream))
        if waiting is not None:
            waiting.cancel()
        gate.leave((worker, call.stream))

    async def _work(
        self,
        holder: Holder,
        call: AuthorizeCall,
        provider: ModelProvider,
        gate: Gate,
        *,
        thread: str,
        answer: Answer,
    ) -> None:
        try:
            if call.stream:
                await gate.enter(thread, holder)
            # After the wait: a token may have expired in it.
            record = await self._record(call.rejected) if provider.requires_openai_auth else None
            authorization = self._authorization(provider, record, gate)
        except AuthError as error:
            gate.leave(holder)
            authorization = Authorization(problem=str(error))
        except asyncio.CancelledError:
            gate.leave(holder)
            raise
        except Exception:
            log.exception("a worker's call failed")
            gate.leave(holder)
            authorization = Authorization(problem="the server could not find credentials (its log says more)")
        answer(_encode(authorization))

    async def _record(self, rejected: str | None) -> AuthRecord | None:
        keeper = self._accounts.keeper
        if rejected is None:
            return await keeper.fresh()
        try:
            return await keeper.renewed(rejected)
        except RefreshError:
            return await keeper.current()  # the provider's own refusal says it best

    def _authorization(self, provider: ModelProvider, record: AuthRecord | None, gate: Gate) -> Authorization:
        credentials = credentials_of(record)
        chatgpt = uses_chatgpt(provider, credentials)
        return Authorization(
            headers=headers_for(provider, os.environ, credentials),
            chatgpt_login=chatgpt,
            mark=fingerprint(credentials.bearer) if chatgpt and credentials else None,
            metered=gate.metered,
        )

    def _limit(self, name: str, provider: ModelProvider) -> int | None:
        settings = self._configuration.settings.bulkhead
        chosen = settings.provider_streams.get(name, settings.max_streams)
        if chosen is not None:
            return chosen or None
        host = urlsplit(provider.base_url or "").hostname
        return None if host in _LOOPBACK else DEFAULT_MAX_STREAMS
