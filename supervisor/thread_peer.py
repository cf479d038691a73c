"""An incarnation as the hub's peer: what it says goes to the relay, what it asks for to supervision."""

from __future__ import annotations

import time
from collections.abc import Callable

from protocol.link import Frame
from supervisor.loaded import Incarnation
from supervisor.relay import Relay

__all__ = ["ThreadPeer"]


class ThreadPeer:
    """`call` gets the incarnation, the number of its question and the question."""

    def __init__(
        self, incarnation: Incarnation, relay: Relay, call: Callable[[Incarnation, int, bytes], None]
    ) -> None:
        self.handle = incarnation.handle
        self._incarnation = incarnation
        self._relay = relay
        self._call = call

    def on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == Frame.STREAM:
            self._relay.stream(self._incarnation, number, payload)
        elif kind == Frame.PONG:
            self._incarnation.last_heard = time.monotonic()
            self._incarnation.ping_sent = None
        elif kind == Frame.CALL:
            self._call(self._incarnation, number, payload)
