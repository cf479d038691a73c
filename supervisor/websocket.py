"""JSON lines as websocket messages (RFC 6455): one text message a line, in both directions.

The protocol is the websockets library's, without its input and output: the outbox writes, as for all clients, so a
websocket client has the same fairness, credits and bounds. The socket is read when it is readable and no sooner.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from protocol.rpc import ID_WINDOW
from supervisor.channel import Inlet, Listener
from supervisor.lines import MAX_LINE_BYTES

__all__ = ["WebSocketChannel"]

log = logging.getLogger("bulkhead.websocket")

READ_BYTES = 256 * 1024


class WebSocketChannel:
    """A socket after its handshake; `protocol` may hold the first messages already."""

    def __init__(self, peer: socket.socket, protocol: ServerProtocol) -> None:
        self.write_fd = peer.fileno()
        self._socket = peer
        self._protocol = protocol

    @staticmethod
    def frame(lines: bytes) -> bytes:
        return b"".join(Frame(Opcode.TEXT, line).serialize(mask=False) for line in lines.split(b"\n") if line)

    def inlet(self, listener: Listener, send: Callable[[bytes], None]) -> Inlet:
        return _Reader(self._socket, self._protocol, listener, send)

    def close(self) -> None:
        self._socket.close()


class _Reader:
    def __init__(
        self,
        peer: socket.socket,
        protocol: ServerProtocol,
        listener: Listener,
        send: Callable[[bytes], None],
    ) -> None:
        self._socket = peer
        self._protocol = protocol
        self._listener = listener
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False

    def start(self) -> None:
        self._loop.add_reader(self._socket, self._readable)
        self._loop.call_soon(self._take)

    def pause(self) -> None:
        if not self._paused and not self._ended:
            self._paused = True
            self._loop.remove_reader(self._socket)

    def resume(self) -> None:
        if self._paused and not self._ended:
            self._paused = False
            self._loop.add_reader(self._socket, self._readable)

    def stop(self) -> None:
        if not self._ended:
            self._ended = True
            with suppress(OSError, ValueError):
                self._loop.remove_reader(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._take()
        if not data and not self._ended:
            self._finish()

    def _take(self) -> None:
        """Hand over the messages that are whole, and answer pings and closes."""
        for event in self._protocol.events_received():
            if self._ended:
                return
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._part(event)
            elif event.opcode is Opcode.CLOSE:
                break
        for data in self._protocol.data_to_send():
            if data:
                self._send(data)
        if self._protocol.close_expected() and not self._ended:
            reason = self._protocol.parser_exc
            if reason is not None:
                log.warning("a websocket client broke the protocol: %s", reason)
            self._finish()

    def _part(self, frame: Frame) -> None:
        self._parts.append(bytes(frame.data))
        self._size += len(frame.data)
        if not frame.fin:
            return
        message = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        # Lines are a message each, but a client may put several into one; a bare newline cannot be inside of JSON text.
        for line in message.split(b"\n"):
            if len(line) > MAX_LINE_BYTES:
                self._listener.on_long(line[:ID_WINDOW], line[-ID_WINDOW:])
            elif line:
                self._listener.on_line(line)

    def _finish(self) -> None:
        self.stop()
        self._listener.on_end()
