"""The local web server that a browser comes back to at the end of a login."""

from __future__ import annotations

import asyncio
import errno
import html
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from auth.errors import LoginError

__all__ = ["CALLBACK_PORTS", "CallbackServer"]

CALLBACK_PORTS = (1455, 1457)
"""The issuer knows these two and no others."""
HOST = "127.0.0.1"
TRIES, BETWEEN_TRIES_S = 10, 0.2
"""For the first port: whoever has it is asked to give it up, which takes a moment."""
HEAD_BYTES = 64 * 1024
PATIENCE_S = 10.0
"""For one request of a browser."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family: sans-serif; margin: 4em"><h1>{title}</h1><p>{text}</p></body></html>
"""
Finish = Callable[[dict[str, str]], Awaitable[None]]


class CallbackServer:
    """Waits for one browser.

    `finish` gets the query of a callback whose state is right; the browser is shown what it raises (LoginError), or
    that the login is complete. `cancelled` is set by a GET of /cancel, as another program sends that wants the port.
    """

    def __init__(self, state: str, finish: Finish) -> None:
        self.port = 0
        self.cancelled = asyncio.Event()
        self._state = state
        self._finish = finish
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, ports: tuple[int, ...] = CALLBACK_PORTS) -> None:
        """Listen on the first of `ports` if it can be had, else on another of them.

        :raises LoginError: all are taken.
        """
        for attempt in range(TRIES):
            if await self._listen(ports[0]):
                return
            if attempt == 0:
                await _ask_to_leave(ports[0])
            await asyncio.sleep(BETWEEN_TRIES_S)
        for port in ports[1:]:
            if await self._listen(port):
                return
        raise LoginError(f"Port {HOST}:{ports[0]} is already in use")

    async def close(self) -> None:
        """Stop listening; answers under way are finished."""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1)
        for task in self._tasks:
            task.cancel()

    async def _listen(self, port: int) -> bool:
        try:
            self._server = await asyncio.start_server(self._serve, HOST, port, limit=HEAD_BYTES)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise LoginError(f"cannot listen on {HOST}:{port}: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with asyncio.timeout(PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
            answer = await self._answer(head.split(b"\r\n", 1)[0].decode("latin-1"))
            writer.write(answer)
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # no browser, or one that went away
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, request_line: str) -> bytes:
        parts = request_line.split(" ")
        if len(parts) != 3 or parts[0] != "GET":
            return _response(HTTPStatus.NOT_FOUND, "Not Found")
        target = urlsplit(parts[1])
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        if target.path == "/auth/callback":
            return await self._callback(query)
        if target.path == "/success":
            text = "You are logged in and may close this window."
            return _response(HTTPStatus.OK, _PAGE.format(title="Login complete", text=text), "text/html")
        if target.path == "/cancel":
            self.cancelled.set()
            return _response(HTTPStatus.OK, "Login cancelled")
        return _response(HTTPStatus.NOT_FOUND, "Not Found")

    async def _callback(self, query: dict[str, str]) -> bytes:
        if query.get("state") != self._state:
            return _response(HTTPStatus.BAD_REQUEST, "State mismatch")
        try:
            await self._finish(query)
        except LoginError as error:
            page = _PAGE.format(title="Login failed", text=html.escape(str(error)))
            return _response(HTTPStatus.OK, page, "text/html")
        # Away from the address with the code in it, which browsers remember.
        return _response(HTTPStatus.FOUND, "", location=f"http://{HOST}:{self.port}/success")


async def _ask_to_leave(port: int) -> None:
    """Another program of this kind gives the port up when it is asked to; anything else does not mind."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(f"GET /cancel HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            await reader.read(HEAD_BYTES)
            writer.close()


def _response(status: HTTPStatus, text: str, kind: str = "text/plain", location: str = "") -> bytes:
    body = text.encode()
    lines = [
        f"HTTP/1.1 {status} {status.phrase}",
        f"content-type: {kind}; charset=utf-8",
        f"content-length: {len(body)}",
        "connection: close",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
    ]
    if location:
        lines.append(f"location: {location}")
    return "\r\n".join([*lines, "", ""]).encode() + body
