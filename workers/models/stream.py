"""A response of a model as a stream of events, retries included: the door of this package."""

from __future__ import annotations

import asyncio
from asyncio import sleep
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from itertools import count
from typing import ClassVar, Protocol

import httpx
import msgspec

from network.transport import CONNECT_TIMEOUT_S, MAY_REPEAT, NetworkSettingError
from workers.models import chat_request, responses
from workers.models.chat import ChatDecoder
from workers.models.errors import (
    ConnectionFailedError,
    ConnectionLostError,
    IdleTimeoutError,
    ModelError,
    ProviderUnusableError,
    RateLimitedError,
    ServerOverloadedError,
    StreamCutError,
    TooManyRequestsError,
    UsageLimitError,
)
from workers.models.events import Completed, ModelEvent, RateLimits, Retrying
from workers.models.limits import rate_limits
from workers.models.refusal import refusal
from workers.models.request import Admission, Authorize, ModelRequest, Provider, endpoint
from workers.models.retry import delay_before, wait_for_requests
from workers.models.sse import EventTooLargeError, SseSplitter

__all__ = ["open_stream"]

_THROTTLES = (TooManyRequestsError, RateLimitedError, ServerOverloadedError)
REFUSAL_BYTES = 16 << 10
"""How much of the body of a refusal is read. It is shown to a person, in one line of the protocol."""
REFUSAL_S = 10.0
TAIL_S = 2.0
"""The most that is waited for what comes after the last event."""


class Decoder(Protocol):
    """What a wire API has to offer: see `ResponsesDecoder`."""

    tells_after_finish: ClassVar[bool]

    @property
    def finished(self) -> bool: ...
    @property
    def tail_s(self) -> float: ...
    def feed(self, data: bytes) -> Sequence[ModelEvent]: ...
    def end(self) -> tuple[Sequence[ModelEvent], ModelError | None]: ...


async def open_stream(
    provider: Provider,
    request: ModelRequest,
    authorize: Authorize,
    client: httpx.AsyncClient,
    turn_headers: Mapping[str, str] | None = None,
    *,
    admission: Admission | None = None,
    again: Callable[[], Awaitable[ModelRequest]] | None = None,
    failed: Callable[[str], Awaitable[None]] | None = None,
) -> AsyncGenerator[ModelEvent, None]:
    """Asks the model and gives its events (`events` tells their order) to the end of the response.

    `turn_headers` win over the provider's, those of `authorize` over both. `admission` is told how it goes. `failed` is
    told of each try that failed, before anybody else, and why; `again` gives the request to go on with then, if it is
    another one by now. Raises a `ModelError` when the response failed for good. Iterate it inside `contextlib.aclosing`:
    closing it, or cancelling the task that waits for its next event, closes the connection at once.
    """
    call = _Call(provider, request, authorize, client, turn_headers or {}, admission=admission)
    for attempt in count(1):
        limits: RateLimits | None = None
        response: httpx.Response | None = None
        try:
            response = await call.answer()
            limits = RateLimits(rate_limits(response.headers))
            decoder = call.decoder()
            splitter = SseSplitter()
            chunks = _chunks(response)
            async for chunk in chunks:
                for data in splitter.feed(chunk):
                    for event in decoder.feed(data):
                        yield event
                if decoder.finished:
                    break
            else:
                for data in splitter.finish():
                    for event in decoder.feed(data):
                        yield event
            if decoder.finished and decoder.tells_after_finish:
                for event in await _tail(chunks, splitter, decoder):
                    yield event
            events, failure = decoder.end()
            for event in events:
                yield event
            if failure is not None:
                raise failure
            yield limits
            await _tail(chunks, splitter, decoder)
        except (ModelError, httpx.TransportError, httpx.DecodingError, EventTooLargeError) as caught:
            error = caught if isinstance(caught, ModelError) else _cut(caught)
            delay = delay_before(error, attempt)
            call.tell_throttled(error)
            if error.usage is not None:
                yield Completed("", error.usage)
            if failed is not None:
                await failed(error.message)
            told = limits or _told_limits(error)
            if told is not None:
                yield told
            if not error.retry or attempt > provider.stream_max_retries or delay is None:
                if error is caught:
                    raise
                raise error from caught
        else:
            return
        finally:
            call.ended()
            if response is not None:
                await response.aclose()
        yield Retrying(
            f"Reconnecting... {attempt}/{provider.stream_max_retries}", error.reconnect_info, error.message
        )
        await sleep(delay)
        if again is not None:
            call.ask(await again())


class _Call:
    """All that the tries of one response have in common."""

    def __init__(
        self,
        provider: Provider,
        request: ModelRequest,
        authorize: Authorize,
        client: httpx.AsyncClient,
        turn_headers: Mapping[str, str],
        *,
        admission: Admission | None,
    ) -> None:
        self._admission = admission
        self._provider = provider
        self._authorize = authorize
        self._client = client
        self._headers = (provider.headers, turn_headers)
        self.ask(request)

    def ask(self, request: ModelRequest) -> None:
        """What the next try sends."""
        self._request = request
        if self._provider.wire_api == "chat":
            self._tools = chat_request.ChatTools(request.tools)
            self._url = endpoint(self._provider, chat_request.PATH)
            self._body = chat_request.encode_request(request, self._tools)
        else:
            self._url = endpoint(self._provider, responses.PATH)
            self._body = responses.encode_request(request)

    def decoder(self) -> Decoder:
        if self._provider.wire_api == "chat":
            return ChatDecoder(self._tools, _call_ids(self._request))
        return responses.ResponsesDecoder()

    async def answer(self) -> httpx.Response:
        """Get the answer with its body still to come; tries again where one HTTP request may. Raises `ModelError`."""
        for attempt in count(1):
            try:
                return await self._post()
            except ModelError as error:
                self.ended()
                if error.http_status == HTTPStatus.UNAUTHORIZED and await self._renewed():
                    continue
                delay = delay_before(error, attempt)
                if not error.retry_request or attempt > self._provider.request_max_retries or delay is None:
                    raise
            await sleep(delay)
        raise AssertionError  # count() has no end

    def ended(self) -> None:
        if self._admission is not None:
            self._admission.ended()

    def tell_throttled(self, error: ModelError) -> None:
        """Only what the account's other streams would run into too."""
        if self._admission is not None and error.delay and isinstance(error, _THROTTLES):
            self._admission.throttled(error.delay)

    async def _renewed(self) -> bool:
        return self._admission is not None and await self._admission.renewed()

    async def _post(self) -> httpx.Response:
        credentials = await self._authorize()
        try:
            headers = httpx.Headers({"accept": "text/event-stream", "content-type": "application/json"})
            for more in (*self._headers, credentials):
                headers.update(more)
            request = self._client.build_request(
                "POST",
                self._url,
                content=self._body,
                headers=headers,
                timeout=httpx.Timeout(
                    self._provider.stream_idle_timeout_ms / 1000, connect=CONNECT_TIMEOUT_S
                ),
                extensions={MAY_REPEAT: True},
            )
            response = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise ConnectionFailedError(str(error) or "no answer in time") from error
        except httpx.ReadTimeout as error:
            raise IdleTimeoutError from error
        except NetworkSettingError as error:
            raise ProviderUnusableError(str(error)) from error
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, UnicodeEncodeError) as error:
            # The error may quote a header that holds a credential.
            reason = (
                f"provider {self._provider.name}: the request can not be sent as it is (check its headers)"
            )
            raise ProviderUnusableError(reason) from error
        except httpx.TransportError as error:
            raise ConnectionLostError from error
        if response.is_success:
            wait = wait_for_requests(response.headers)
            if wait and self._admission is not None:
                self._admission.throttled(wait)
            return response
        try:
            raise refusal(response.status_code, response.headers, await _refusal_body(response), self._url)
        finally:
            await response.aclose()


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Give the body as it arrives. Raw bytes are cheaper, but a server may compress without being asked to."""
    return response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()


async def _tail(chunks: AsyncIterator[bytes], splitter: SseSplitter, decoder: Decoder) -> list[ModelEvent]:
    """Read what comes after the last event that counts, to the end of the body.

    That frees the connection for the next request; a server that does not end the body is not waited for.
    """
    events: list[ModelEvent] = []
    try:
        async with asyncio.timeout(TAIL_S):
            while True:
                async with asyncio.timeout(decoder.tail_s):
                    chunk = await anext(chunks)
                for data in splitter.feed(chunk):
                    events += decoder.feed(data)
    except (StopAsyncIteration, TimeoutError, httpx.TransportError, httpx.StreamError, EventTooLargeError):
        return events


async def _refusal_body(response: httpx.Response) -> bytes:
    """Read the beginning of the body; what of it there is if it does not come whole."""
    body = bytearray()
    try:
        async with asyncio.timeout(REFUSAL_S):
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) >= REFUSAL_BYTES:
                    break
    except (TimeoutError, httpx.TransportError, httpx.DecodingError):
        pass
    return bytes(body[:REFUSAL_BYTES])


def _cut(error: Exception) -> StreamCutError:
    """Say what a transport error inside a stream means."""
    if isinstance(error, httpx.ReadTimeout):
        return IdleTimeoutError()
    if isinstance(error, EventTooLargeError):
        return StreamCutError(str(error))
    return StreamCutError("Transport error: network error: error decoding response body")


def _told_limits(error: ModelError) -> RateLimits | None:
    if isinstance(error, UsageLimitError) and error.rate_limits is not None:
        return RateLimits(error.rate_limits)
    return None


def _call_ids(request: ModelRequest) -> set[str]:
    items = (msgspec.json.decode(item) if isinstance(item, msgspec.Raw) else item for item in request.input)
    return {item["call_id"] for item in items if isinstance(item.get("call_id"), str)}
