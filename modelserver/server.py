"""The process around the application: the listening socket, its announcement, and a quick end.

Uvicorn's own way of ending does not fit: it waits for streams that hang on purpose, and it dies of the signal
that it caught. Here a signal ends every answer, and the process exits with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator

import uvicorn
import uvloop

from modelserver.app import ModelApp
from modelserver.errors import ExposedHostError

__all__ = ["LOG_LEVELS", "listen", "serve"]

LOG_LEVELS = ("critical", "error", "warning", "info", "debug")
BACKLOG = 1024
"""Connections that may wait to be accepted: a burst of some hundred clients must not be refused."""
GRACE = 1
"""Seconds for answers to notice the end. They need a fraction; the rest is for a machine under load."""
_STDIN = 0
_TORN = "ASGI callable returned without completing response."


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: ModelApp, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.model = app
        self.ready = ready

    def end(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.model.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.end)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes a free one.

    Raises ExposedHostError for a host that is not a loopback address, OSError when the port is taken.
    """
    address = "127.0.0.1" if host == "localhost" else host
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise ExposedHostError(f"{host} is no IP address") from None
    if not parsed.is_loopback:
        raise ExposedHostError(f"{host} is not a loopback address; the scripted model stays on this machine")
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    return socket.create_server((address, port), family=family, backlog=BACKLOG)


def serve(
    listener: socket.socket,
    ready: Callable[[], None],
    *,
    log_level: str = "warning",
    end_with_stdin: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT, or until standard input ends; `ready` is called when requests are taken."""
    app = ModelApp()
    config = uvicorn.Config(
        app.starlette,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=log_level in {"info", "debug"},
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE,
    )
    # Standard output carries the announcement and nothing else.
    logging.basicConfig(stream=sys.stderr, level=log_level.upper(), format="%(levelname)s %(message)s")
    logging.getLogger("uvicorn.error").addFilter(_not_torn)
    server = _Server(config, app, ready)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(server, listener, end_with_stdin=end_with_stdin))


async def _serve(server: _Server, listener: socket.socket, *, end_with_stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    if end_with_stdin:
        loop.add_reader(_STDIN, _drain, loop, server)
    await server.serve(sockets=[listener])


def _drain(loop: asyncio.AbstractEventLoop, server: _Server) -> None:
    if not os.read(_STDIN, 4096):
        loop.remove_reader(_STDIN)
        server.end()


def _not_torn(record: logging.LogRecord) -> bool:
    """Drop the complaint about torn bodies: a script asks for them, and the end of the server makes them."""
    return record.msg != _TORN
