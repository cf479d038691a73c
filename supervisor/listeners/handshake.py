"""The first exchange with a websocket client: who it is, where it comes from, or whether it only asks how we are.

`GET /healthz` and `GET /readyz` are answered 200 as soon as the server listens. A request with an `Origin` comes from
a page in a browser, which has no business here: 403. `GET /metrics` needs the token, if there is one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from supervisor.exposition import CONTENT_TYPE
from supervisor.lines import MAX_LINE_BYTES
from supervisor.listeners.bearer import Bearer, Refusal

__all__ = ["shake_hands"]

HANDSHAKE_S = 10.0
"""A client that takes longer to say what it wants is let go; the websockets library allows as much."""
READ_BYTES = 16 * 1024
METRICS = "/metrics"
PROBES = frozenset({"/healthz", "/readyz"})


async def shake_hands(
    peer: socket.socket, first: bytes, bearer: Bearer | None, metrics: Callable[[], str], *, full: bool
) -> ServerProtocol | None:
    """The protocol of a client that was let in; None for one that was answered and is to be closed.

    `metrics` makes the text for Prometheus.

    Raises:
        OSError: it went away.
    """
    protocol = ServerProtocol(max_size=MAX_LINE_BYTES)
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            request = await _request(peer, first, protocol)
            if request is not None:
                protocol.send_response(_answer(protocol, request, bearer, metrics, full=full))
            for data in protocol.data_to_send():
                await asyncio.get_running_loop().sock_sendall(peer, data)
    except TimeoutError:
        return None
    return None if protocol.close_expected() or request is None else protocol


async def _request(peer: socket.socket, first: bytes, protocol: ServerProtocol) -> Request | None:
    loop = asyncio.get_running_loop()
    data = first or await loop.sock_recv(peer, READ_BYTES)
    while data:
        protocol.receive_data(data)
        for event in protocol.events_received():
            assert isinstance(event, Request)
            return event
        if protocol.handshake_exc is not None:
            return None
        data = await loop.sock_recv(peer, READ_BYTES)
    return None


def _answer(
    protocol: ServerProtocol,
    request: Request,
    bearer: Bearer | None,
    metrics: Callable[[], str],
    *,
    full: bool,
) -> Response:
    if "Origin" in request.headers:
        return protocol.reject(HTTPStatus.FORBIDDEN, "")
    if request.path in PROBES:
        return protocol.reject(HTTPStatus.OK, "")
    if bearer is not None:
        try:
            # Of several the first, as for the peer.
            bearer.check(next(iter(request.headers.get_all("Authorization")), None))
        except Refusal as refusal:
            return protocol.reject(HTTPStatus.UNAUTHORIZED, str(refusal))
    if request.path == METRICS:
        response = protocol.reject(HTTPStatus.OK, metrics())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = CONTENT_TYPE
        return response
    if full:
        return protocol.reject(HTTPStatus.SERVICE_UNAVAILABLE, "server_overloaded: too many clients")
    return protocol.accept(request)
