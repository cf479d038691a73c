"""One throw-away request, so that all a request will ever import is imported before a worker is forked.

`import httpx` alone does not import its transport: some forty modules come with the first request.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Literal, cast

import anyio.streams.tls
import httpx

from network.transport import make_client
from workers.models.errors import HttpStatusError
from workers.models.request import ModelRequest, Provider
from workers.models.stream import open_stream

__all__ = ["warm"]

# Named here for what importing them does: name look-ups (a thread pool and the IDNA codec) and TLS need them.
_NEEDED_LATER = (concurrent.futures.thread, anyio.streams.tls)

ANSWER_MS = 5_000
"""It answers itself at once; this only keeps a broken machine from hanging the start."""

_EVENT = b'data: {"type":"response.completed","response":{"id":"warm-up"}}\n\n'
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n0\r\n\r\n" % (len(_EVENT), _EVENT)
)
_REFUSAL = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nretry-after: 0\r\n\r\n{}"


def warm(loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Asks a server of its own on the loopback address, on a loop of its own, and leaves no thread, socket or loop behind.

    For a process of one thread that runs no loop. The loop is asyncio's own by default: uvloop's would leave its signal
    pipe behind, and has nothing more to import.
    """
    "localhost".encode("idna")
    with asyncio.Runner(loop_factory=loop_factory or asyncio.new_event_loop) as runner:
        runner.run(_one_of_each())


async def _one_of_each() -> None:
    loop = asyncio.get_running_loop()
    answerers: list[_Answerer] = []

    def accepted() -> _Answerer:
        answerers.append(_Answerer())
        return answerers[-1]

    server = await loop.create_server(accepted, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with make_client(user_agent="warm-up", originator="warm-up", environ={}) as client:
            await _ask(f"http://127.0.0.1:{port}", "responses", client)
            with suppress(HttpStatusError):
                await _ask(f"http://127.0.0.1:{port}", "chat", client)
    finally:
        server.close()
        for answerer in answerers:
            answerer.hang_up()
        await asyncio.gather(*(answerer.gone for answerer in answerers))
        await server.wait_closed()


async def _ask(base_url: str, wire_api: Literal["responses", "chat"], client: httpx.AsyncClient) -> None:
    provider = Provider(
        name="warm-up",
        base_url=base_url,
        wire_api=wire_api,
        request_max_retries=0,
        stream_max_retries=0,
        stream_idle_timeout_ms=ANSWER_MS,
    )
    async with aclosing(open_stream(provider, ModelRequest(model="m"), _nobody, client)) as stream:
        async for _event in stream:
            pass


class _Answerer(asyncio.Protocol):
    """Answers a Responses request with a stream, any other with a refusal."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: the transports of uvloop are of no class of asyncio.
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        assert self._transport is not None
        self._transport.write(_STREAM if head.startswith(b"POST /responses") else _REFUSAL)

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _content_length(head: bytes) -> int:
    return int(next(line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")))


async def _nobody() -> dict[str, str]:
    return {}
