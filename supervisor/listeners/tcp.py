"""Clients through a websocket port. Off loopback nobody comes in without a token."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from supervisor.exposition import render
from supervisor.listeners.accept import Acceptor
from supervisor.listeners.address import ListenError, WebSocketPort
from supervisor.listeners.bearer import Bearer
from supervisor.listeners.clients import Clients
from supervisor.listeners.handshake import shake_hands
from supervisor.websocket import WebSocketChannel

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["WebSocketListener"]


class WebSocketListener:
    """Raises ListenError if the port cannot be had, or would be open to everybody."""

    def __init__(self, front: Front, address: WebSocketPort, bearer: Bearer | None) -> None:
        if bearer is None and not address.loopback:
            raise ListenError(
                f"refusing to start non-loopback websocket listener {address.authority} without auth; "
                "configure `--ws-auth capability-token` or `--ws-auth signed-bearer-token`"
            )
        listening = _bind(address)
        self.address = WebSocketPort(address.host, listening.getsockname()[1])
        self.url = str(self.address)
        self._bearer = bearer
        self._front = front
        self._clients = Clients(front, "ws")
        self._acceptor = Acceptor(listening, self._welcome)

    async def _welcome(self, peer: socket.socket) -> bool:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A client whose machine is gone says nothing: the kernel finds out.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        protocol = await shake_hands(
            peer, b"", self._bearer, lambda: render(self._front), full=self._clients.full
        )
        if protocol is None:
            return False
        self._clients.admit(WebSocketChannel(peer, protocol))
        return True

    def close(self) -> None:
        self._acceptor.close()

    def let_go(self) -> None:
        self._clients.close()


def _bind(address: WebSocketPort) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        # Not REUSEPORT: a second server on the port is an error.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise ListenError(f"cannot listen at {address}: {error.strerror}") from None
    return listening
