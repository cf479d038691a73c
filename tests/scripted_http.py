"""A loopback HTTP server that sends exactly the bytes it is told to, and what the tests of the model clients share."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from typing import NamedTuple

import msgspec
import uvloop

from workers.models import ModelError, ModelRequest, Provider, make_client, open_stream


class Answer(NamedTuple):
    data: bytes
    then: str = "keep"  # or "close", "reset", or "hold": stay silent until the client hangs up


class Seen(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self):
        return json.loads(self.body)


class ScriptedServer:
    """Answers the n-th request with the n-th answer, all further ones with the last."""

    def __init__(self, *answers):
        self.answers = answers
        self.requests: list[Seen] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.hung_up = asyncio.Event()
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), number, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _answer(self, head, number, reader, writer):
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(Seen(method, target, headers, body, number))
        self.asked.set()
        writer.write(answer.data)
        await writer.drain()
        if answer.then == "hold":
            assert await reader.read() == b""
            self.hung_up.set()
        if answer.then == "reset":
            writer.transport.abort()
        if answer.then != "keep":
            raise ConnectionError


def refuse(status, body, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return Answer(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(raw)}\r\n\r\n".encode() + raw)


def head(**headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{lines}".encode()


def sse(*events):
    return b"".join(
        b"data: " + (e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n\n" for e in events
    )


def stream(*events, **headers):
    """The whole stream, after which the connection is closed."""
    return Answer(head(**headers) + b"connection: close\r\n\r\n" + sse(*events), "close")


def chunked(*events, end=True):
    """A stream in chunks, after which the connection may be used again."""
    data = sse(*events)
    return Answer(
        head()
        + b"transfer-encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n" % (len(data), data)
        + b"0\r\n\r\n" * end,
        "keep" if end else "hold",
    )


CREATED = {"type": "response.created", "response": {"id": "resp_1"}}
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 20},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 130,
}
COMPLETED = {"type": "response.completed", "response": {"id": "resp_1", "usage": USAGE}}


def message(text="Hello there.", item_id="msg_1"):
    item = {"type": "message", "role": "assistant", "id": item_id, "content": []}
    done = {
        **item,
        "content": [{"type": "output_text", "text": text, "annotations": []}],
        "status": "completed",
    }
    yield {"type": "response.output_item.added", "item": item}
    for word in re.findall(r"\S+\s*", text):
        yield {"type": "response.output_text.delta", "item_id": item_id, "delta": word}
    yield {"type": "response.output_item.done", "item": done}


def provider(base_url, **settings):
    return Provider(
        **{
            "name": "Mock",
            "base_url": base_url,
            "request_max_retries": 1,
            "stream_max_retries": 1,
            **settings,
        }
    )


async def nobody():
    return {}


async def collect(
    server_or_url, request=None, *, authorize=nobody, client=None, turn_headers=None, **settings
):
    """All events of one `open_stream`, and the error it ended with or None."""
    url = server_or_url if isinstance(server_or_url, str) else server_or_url.base_url
    own = client or make_client(user_agent="ua/1", originator="rec", environ={})
    events, error = [], None
    try:
        call = open_stream(
            provider(url, **settings), request or ModelRequest(model="m"), authorize, own, turn_headers
        )
        async with aclosing(call) as events_in:
            # Not a comprehension: what came before an error is kept.
            async for event in events_in:
                events.append(event)  # noqa: PERF401  as said
    except ModelError as raised:
        error = raised
    finally:
        if client is None:
            await own.aclose()
    return events, error


def run(main):
    """Runs a coroutine on the loop that workers have; nothing hangs for longer than 20 s."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main, 20))


def ask(*answers, **settings):
    """(events, error, requests) of one call to a server with these answers."""

    async def main():
        async with ScriptedServer(*answers) as server:
            events, error = await collect(server, **settings)
            return events, error, server.requests

    return run(main())


def kinds(events):
    return [type(event).__name__ for event in events]


def raw(item):
    return msgspec.Raw(msgspec.json.encode(item))
