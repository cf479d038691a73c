"""Clients through a unix socket: JSON lines, or websocket messages for those whose first line is an HTTP request.

The socket is for its owner alone (0600). One that is left from a server that is gone is replaced; one that answers
belongs to a server that runs.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.channel import LineChannel
from supervisor.exposition import render
from supervisor.listeners.accept import Acceptor
from supervisor.listeners.address import ListenError
from supervisor.listeners.clients import Clients
from supervisor.listeners.handshake import shake_hands
from supervisor.websocket import WebSocketChannel

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["UnixListener"]

FIRST_BYTES = 4096
MAX_PATH_BYTES = 107
"""The kernel's limit for a socket's path."""
HTTP_START = b"GET "


class UnixListener:
    """Raises ListenError if the socket cannot be made."""

    def __init__(self, front: Front, path: str) -> None:
        self.url = f"unix://{path}"
        self._path = path
        self._front = front
        self._clients = Clients(front, "unix")
        listening = _bind(path)
        self._identity = os.stat(path).st_ino
        self._acceptor = Acceptor(listening, self._welcome)

    async def _welcome(self, peer: socket.socket) -> bool:
        loop = asyncio.get_running_loop()
        first = b""
        while HTTP_START.startswith(first):  # it may come in any pieces
            more = await loop.sock_recv(peer, FIRST_BYTES)
            if not more:
                return False
            first += more
            if first.startswith(HTTP_START):
                break
        if first.startswith(HTTP_START):
            protocol = await shake_hands(
                peer, first, None, lambda: render(self._front), full=self._clients.full
            )
            if protocol is None:
                return False
            self._clients.admit(WebSocketChannel(peer, protocol))
            return True
        if self._clients.full:
            return False
        self._clients.admit(LineChannel(peer.fileno(), peer.fileno(), first=first, last=peer.close))
        return True

    def close(self) -> None:
        self._acceptor.close()
        with suppress(OSError):
            if os.stat(self._path).st_ino == self._identity:
                os.unlink(self._path)

    def let_go(self) -> None:
        self._clients.close()


def _bind(path: str) -> socket.socket:
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ListenError(f"{path} is too long for a socket: at most {MAX_PATH_BYTES} bytes")
    listening = socket.socket(socket.AF_UNIX)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _clear(path)
        mask = os.umask(0o177)
        try:
            listening.bind(path)
        finally:
            os.umask(mask)
    except OSError as error:
        listening.close()
        raise ListenError(f"cannot listen at {path}: {error.strerror}") from None
    except ListenError:
        listening.close()
        raise
    return listening


def _clear(path: str) -> None:
    """Take away what a dead server left; never a file that is no socket."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise ListenError(f"another server listens at {path}")
