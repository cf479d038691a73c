"""One client: its handshake, what it wants to hear, and the requests that it has been asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from protocol import rpc
from protocol.base import Wire
from protocol.methods import NOTIFICATIONS
from protocol.session import InitializeParams
from supervisor.channel import Channel
from supervisor.outbox import Done, Outbox

__all__ = ["Connection"]

log = logging.getLogger("bulkhead.connection")

PAUSE_BYTES = 4 * 1024 * 1024
"""A client that sends requests but does not read the answers is not read from beyond this."""
RESUME_BYTES = 1024 * 1024

_EXPERIMENTAL = frozenset(row.name for row in NOTIFICATIONS.values() if row.experimental)


class Connection:
    def __init__(
        self,
        name: str,
        channel: Channel,
        *,
        on_message: Callable[[Connection, rpc.Incoming], None],
        on_gone: Callable[[Connection], None],
    ) -> None:
        self.name = name
        self.client: InitializeParams | None = None
        self.asked: dict[int, Callable[[rpc.ClientResponse], None]] = {}
        """Server requests without an answer, by our id."""
        self._questions: set[asyncio.Future[rpc.ClientResponse]] = set()
        self._next_request = 0
        self._silence(_EXPERIMENTAL)
        self._on_message = on_message
        self._on_gone = on_gone
        self._ended = False
        self.detached = False
        """Whether it is gone for good, and no thread may hold on to it."""
        self.outbox = Outbox(channel.write_fd, self.on_end, channel.frame)
        self._channel = channel
        self._inlet = channel.inlet(self, self.outbox.raw)

    def start(self) -> None:
        self._inlet.start()

    def close(self) -> None:
        """Let go of its descriptors; nothing is read or written any more."""
        self._inlet.stop()
        self.outbox.discard()
        self.outbox.close()
        self._channel.close()

    @property
    def initialized(self) -> bool:
        return self.client is not None

    @property
    def experimental(self) -> bool:
        capabilities = self.client.capabilities if self.client else None
        return capabilities is not None and capabilities.experimental_api

    def accept(self, client: InitializeParams) -> None:
        self.client = client
        opted_out = (client.capabilities and client.capabilities.opt_out_notification_methods) or ()
        self._silence(frozenset(opted_out) | (frozenset() if self.experimental else _EXPERIMENTAL))

    def _silence(self, methods: frozenset[str]) -> None:
        self._silenced = methods
        self._marks = tuple(f'"method":"{method}"'.encode() for method in methods)

    # --- in ------------------------------------------------------------------------------------------

    def on_line(self, line: bytes) -> None:
        message = rpc.read_line(line)
        if isinstance(message, rpc.Unreadable):
            log.error("a line of the client was not understood: %s", message.reason)
            if message.id is not None:
                self.reply_error(message.id, rpc.RpcError(f"Invalid request: {message.reason}"))
            return
        self._on_message(self, message)
        if self.outbox.queued > PAUSE_BYTES:
            self._inlet.pause()
            self.outbox.when_below(RESUME_BYTES, self._inlet.resume)

    def on_long(self, head: bytes, tail: bytes) -> None:
        identity = rpc.id_of_ends(head, tail)
        log.error("a line of the client was longer than the limit")
        if identity is not None:
            self.reply_error(identity, rpc.RpcError("Invalid request: the line is longer than 64 MiB"))

    def on_end(self) -> None:
        if not self._ended:
            self._ended = True
            for question in self._questions:
                if not question.done():
                    question.set_exception(ConnectionError("the client has gone"))
            self._inlet.stop()
            self._on_gone(self)

    # --- out -----------------------------------------------------------------------------------------

    def reply(self, identity: bytes, result: Wire, lane: str = "") -> None:
        self._send(lane, rpc.result_line(identity, result))

    def reply_error(self, identity: bytes, error: rpc.RpcError, lane: str = "") -> None:
        self._send(lane, rpc.error_line(identity, error))

    def notify(self, method: str, params: Wire, lane: str = "", *, first: bool = False) -> None:
        """`first`: before what other threads have to say (`Outbox.push`)."""
        if method not in self._silenced:
            self._send(lane, rpc.notification_line(method, params), first=first)

    def _send(self, lane: str, line: bytes, *, first: bool = False) -> None:
        if lane:
            self.outbox.push(lane, line, first=first)
        else:
            self.outbox.control(line)

    def pass_on(self, lane: str, lines: bytes, done: Done | None = None, owed: int = 0) -> None:
        """Lines of a worker, as they are; only methods that the client opted out of are taken out."""
        # A line in these bytes that is meant for nobody here is rare; looking for its name is cheap.
        if any(mark in lines for mark in self._marks):
            kept = [
                line for line in lines.splitlines(keepends=True) if rpc.method_of(line) not in self._silenced
            ]
            lines = b"".join(kept)
        self.outbox.push(lane, lines, done, owed)

    def ask(self, lane: str, method: str, params: bytes, answer: Callable[[rpc.ClientResponse], None]) -> int:
        """Send a server request; its id on this connection. `answer` is called with the first response to it."""
        identity = self._next_request
        self._next_request += 1
        self.asked[identity] = answer
        self._send(lane, rpc.request_line(method, identity, params))
        return identity

    async def question(self, method: str, params: Wire) -> rpc.ClientResponse:
        """Ask the client for something that belongs to no thread, and wait for its answer.

        Raises:
            ConnectionError: the client has gone.
        """
        if self._ended:
            raise ConnectionError("the client has gone")
        answer: asyncio.Future[rpc.ClientResponse] = asyncio.get_running_loop().create_future()

        def answered(response: rpc.ClientResponse) -> None:
            if not answer.done():
                answer.set_result(response)

        self._questions.add(answer)
        identity = self.ask("", method, msgspec.json.encode(params), answered)
        try:
            return await answer
        finally:
            self._questions.discard(answer)
            self.asked.pop(identity, None)

    def answered(self, response: rpc.ClientResponse) -> None:
        """Give a response to whoever asked; one that nobody waits for is dropped."""
        try:
            identity = msgspec.json.decode(response.id)
        except msgspec.DecodeError:
            return
        answer = self.asked.pop(identity, None) if isinstance(identity, int) else None
        if answer is not None:
            answer(response)
