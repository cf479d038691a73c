"""The front's end of the wire to the workers: one ROUTER socket on ipc.

Rules that each cost somebody a night (see docs/architecture.md):

- The socket's descriptor is edge-triggered and any send eats the edge: after each send look at EVENTS again.
- A drain that stops early must re-arm itself.
- MANDATORY and NOBLOCK with a queue of our own: without them a full or gone peer swallows messages silently.
- The sender is checked by the credentials of its socket, not by what it says of itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import zmq

from protocol.link import Frame, pack_frame, unpack_frame
from supervisor.launcher import Handle

__all__ = ["Hub", "Peer"]

log = logging.getLogger("bulkhead.hub")

DRAIN_S = 0.002
"""For how long messages are taken in one go before other work of the loop, a death say, gets its turn."""
RETRY_S = 0.02
"""How soon a message is tried again for a worker whose pipe is full (it is stopped or hangs)."""
BIRTH_WORD_S = 0.001
"""How soon to look again whether the zygote has told a worker's pid."""
NOBLOCK, NOBLOCK_MORE, POLLIN = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.POLLIN)
"""Plain numbers: an operation on an enumeration's members costs more than what is sent with them."""
BACKLOG = 4096
"""Workers that may be connecting at one time."""


class Peer(Protocol):
    """Whoever stands behind an identity."""

    @property
    def handle(self) -> Handle: ...

    def on_frame(self, kind: int, number: int, payload: bytes) -> None: ...


class Hub:
    def __init__(self, path: str) -> None:
        self.endpoint = f"ipc://{path}"
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context(1)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.BACKLOG, BACKLOG)
        self._socket.bind(self.endpoint)
        self._peers: dict[bytes, Peer] = {}
        self._unsent: dict[bytes, deque[bytes]] = {}
        self._armed = False
        self._closed = False
        self._loop.add_reader(self._socket.FD, self._drain)
        self._arm()

    def attach(self, token: bytes, peer: Peer) -> None:
        self._peers[token] = peer

    def detach(self, token: bytes) -> None:
        """From now on messages of this identity are dropped: it belongs to an incarnation that has ended."""
        self._peers.pop(token, None)
        self._unsent.pop(token, None)

    def send(self, token: bytes, kind: Frame, number: int = 0, payload: bytes = b"") -> None:
        if self._closed:
            return
        message = pack_frame(kind, number, payload)
        queue = self._unsent.get(token)
        if queue is not None:
            queue.append(message)
        elif not self._try(token, message):
            self._unsent[token] = deque([message])
            self._loop.call_later(RETRY_S, self._retry, token)

    def _try(self, token: bytes, message: bytes) -> bool:
        try:
            self._socket.send(token, NOBLOCK_MORE)
            self._socket.send(message, NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return True  # it has ended: its successor is told by supervision
            raise
        self._arm()
        return True

    def _retry(self, token: bytes) -> None:
        queue = self._unsent.get(token)
        if queue is None or self._closed:
            return
        while queue:
            if not self._try(token, queue[0]):
                self._loop.call_later(RETRY_S, self._retry, token)
                return
            queue.popleft()
        del self._unsent[token]

    def _arm(self) -> None:
        if not self._armed and self._pending():
            self._armed = True
            self._loop.call_soon(self._drain)

    def _pending(self) -> bool:
        events = self._socket.getsockopt(zmq.EVENTS)
        return isinstance(events, int) and bool(events & POLLIN)

    def drain(self) -> None:
        """Take everything that has arrived, e.g. a dead worker's last messages."""
        while not self._closed and self._take():
            pass

    def _drain(self) -> None:
        self._armed = False
        if not self._closed and self._take():
            self._armed = True
            self._loop.call_soon(self._drain)

    def _take(self) -> bool:
        """Handle messages for a while; whether more may be waiting."""
        over = time.perf_counter() + DRAIN_S
        while time.perf_counter() < over:
            try:
                token = self._socket.recv(NOBLOCK)
                frame = self._socket.recv(NOBLOCK, copy=False)  # all parts of a message arrive together
            except zmq.Again:
                return False
            if frame.more:
                self._drop_rest()
                continue
            peer = self._peers.get(token)
            if peer is None:
                continue
            try:
                kind, number, payload = unpack_frame(frame.buffer)
                if kind == Frame.HELLO:
                    self._hello(peer, frame)
                else:
                    peer.on_frame(kind, number, payload)
            except Exception:
                # One worker's bad word must not stop the others'; what was not taken is in its log.
                log.exception("a message of worker %d could not be handled", peer.handle.pid)
                peer.handle.signal(signal.SIGKILL)
        return True

    def _drop_rest(self) -> None:
        """Of a message that is not one of ours."""
        while self._socket.recv(NOBLOCK, copy=False).more:
            pass
        log.warning("a message of more than two parts was dropped")

    def _hello(self, peer: Peer, frame: zmq.Frame) -> None:
        """Let a worker in if it is the process that it should be."""
        if self._peers.get(peer.handle.token) is not peer:
            return  # it came to nothing meanwhile
        if peer.handle.pid == 0:
            # Faster than the zygote's word of its birth, which comes on another way.
            self._loop.call_later(BIRTH_WORD_S, self._hello, peer, frame)
        elif _sent_by(frame, peer.handle.pid):
            peer.on_frame(Frame.HELLO, 0, b"")
        else:
            log.error("a process that is not %d used its identity; it is ignored", peer.handle.pid)

    def close(self) -> None:
        self._closed = True
        self._loop.remove_reader(self._socket.FD)
        self._socket.close(0)
        self._context.term()


def _sent_by(frame: zmq.Frame, pid: int) -> bool:
    """Whether the ipc peer that sent the frame is process `pid` (SO_PEERCRED as uid:gid:pid)."""
    get: Callable[[str], object] = frame.get
    try:
        address = str(get("Peer-Address"))
    except zmq.ZMQError:
        return True  # this build of libzmq does not tell; the token is a secret of 128 bits all the same
    credentials = address.rsplit(":", 1)[-1]
    return not credentials.isdigit() or int(credentials) == pid
