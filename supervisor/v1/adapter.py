"""A client of today's protocol inside of the front, on behalf of a client that speaks the old one.

The two ends of a socket pair: one is a `Connection` like any other, at the other sits the adapter. What it hears of a
conversation it tells its client as old events, if the client listens; what the client is asked, it answers there.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from typing import TYPE_CHECKING, Any

import msgspec

from protocol import rpc
from protocol.base import Wire
from protocol.session import InitializeCapabilities, InitializeParams
from protocol.v1.events import AuthStatusChange, CodexEvent, LoginChatGptComplete, ReviewDecision
from supervisor.channel import LineChannel
from supervisor.lines import LineReader
from supervisor.outbox import Outbox
from supervisor.v1.conversation import Conversation

if TYPE_CHECKING:
    from supervisor.connection import Connection
    from supervisor.front import Front

__all__ = ["Adapter"]

log = logging.getLogger("bulkhead.v1")

PAUSE_BYTES = 1024 * 1024
"""A client that does not read holds its adapter up, and the adapter the workers, as without one."""
RESUME_BYTES = 256 * 1024
SAME_IN_BOTH = frozenset({"userMessage", "agentMessage", "reasoning"})
"""Items whose beginning and end release 0.58 told in the new way too."""
DECISIONS = {
    "approved": "accept",
    "approved_for_session": "acceptForSession",
    "denied": "decline",
    "abort": "cancel",
}
_APPROVALS = {
    "item/commandExecution/requestApproval": "execCommandApproval",
    "item/fileChange/requestApproval": "applyPatchApproval",
}
_AUTH_METHODS = {"chatgptAuthTokens": "chatgpt"}
_encode = msgspec.json.Encoder().encode


class Adapter:
    def __init__(self, front: Front, client: Connection) -> None:
        assert client.client is not None
        self.conversations: dict[str, Conversation] = {}
        self.listening: dict[str, str] = {}
        """Subscription -> conversation."""
        self._front = front
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._asked: dict[int, int] = {}
        """What the inner connection was asked -> what our client was."""
        self._lines: list[bytes] = []
        self._held = False
        self._ours, theirs = socket.socketpair()
        for end in (self._ours, theirs):
            end.setblocking(False)
        self._inner = front.attach(
            f"{client.name}-v1",
            LineChannel(theirs.fileno(), theirs.fileno(), last=theirs.close),
            lambda _: None,
        )
        self._inner.accept(
            InitializeParams(
                client_info=client.client.client_info,
                capabilities=InitializeCapabilities(experimental_api=True),
            )
        )
        self._outbox = Outbox(self._ours.fileno(), self.close)
        self._reader = LineReader(
            self._ours.fileno(), on_line=self._line, on_long=lambda *_: None, on_end=self.close
        )
        self._reader.start()

    def close(self) -> None:
        """The client is gone. Its threads go on."""
        if self._ours.fileno() < 0:
            return
        self._reader.stop()
        self._outbox.discard()
        self._outbox.close()
        self._ours.close()
        self._front.detach(self._inner)
        self._inner.close()
        for call in self._calls.values():
            call.cancel()

    async def call(self, method: str, params: Wire | dict[str, Any]) -> Any:
        """A request of today's protocol; its result as JSON values.

        Raises:
            RpcError: the refusal.
        """
        identity = next(self._ids)
        answer = self._calls[identity] = self._loop.create_future()
        self._outbox.control(rpc.request_line(method, identity, _encode(params)))
        return await answer

    def conversation(self, thread_id: str) -> Conversation:
        found = self.conversations.get(thread_id)
        if found is None:
            raise rpc.RpcError(f"conversation not found: {thread_id}")
        return found

    # --- what the inner connection hears -----------------------------------------------------------------------

    def _line(self, line: bytes) -> None:
        self._lines.append(line)
        if not self._held:
            self._take()

    def _take(self) -> None:
        self._held = False
        while self._lines:
            message = msgspec.json.decode(self._lines[0])
            line = self._lines.pop(0)
            if "method" not in message:
                self._answer(message)
                # Whoever waits for it answers our client first; what came after it is told then.
                self._held = True
                self._loop.call_soon(self._take)
                return
            if "id" in message:
                self._ask(message["id"], message["method"], message["params"])
            else:
                self._hear(message["method"], message["params"], line)
        if self._client.outbox.queued > PAUSE_BYTES:
            self._reader.pause()
            self._client.outbox.when_below(RESUME_BYTES, self._reader.resume)

    def _answer(self, message: dict[str, Any]) -> None:
        call = self._calls.pop(message["id"], None)
        if call is None or call.done():
            return
        if "error" in message:
            error = message["error"]
            call.set_exception(rpc.RpcError(error["message"], error["code"], error.get("data")))
        else:
            call.set_result(message["result"])

    def _hear(self, method: str, params: dict[str, Any], line: bytes) -> None:
        if method == "account/updated":
            mode = params["authMode"]
            self._client.notify(
                "authStatusChange", AuthStatusChange(auth_method=_AUTH_METHODS.get(mode, mode))
            )
        elif method == "account/login/completed":
            if params["loginId"] is not None:
                done = LoginChatGptComplete(
                    login_id=params["loginId"], success=params["success"], error=params["error"]
                )
                self._client.notify("loginChatGptComplete", done)
        elif method == "serverRequest/resolved":
            ours = self._asked.pop(params["requestId"], None)
            if ours is not None:
                self._client.asked.pop(ours, None)
        elif method == "account/rateLimits/updated":
            if self.listening:
                self._client.outbox.control(line + b"\n")
        elif "threadId" in params:
            self._tell(method, params, line)

    def _tell(self, method: str, params: dict[str, Any], line: bytes) -> None:
        thread_id = params["threadId"]
        conversation = self.conversations.get(thread_id)
        if conversation is None:
            return
        heard = thread_id in self.listening.values()
        same = method in ("item/started", "item/completed") and params["item"]["type"] in SAME_IN_BOTH
        for place, event in enumerate(conversation.events(method, params)):
            if heard:
                self._event(conversation, event)
                if same and place == 0:
                    self._client.outbox.push(thread_id, line + b"\n")
        if method == "turn/completed":
            conversation.over()

    def _event(self, conversation: Conversation, event: dict[str, Any]) -> None:
        told = CodexEvent(id=conversation.turn, msg=event, conversation_id=conversation.id)
        self._client.notify(f"codex/event/{event['type']}", told, conversation.id)

    # --- what it is asked ----------------------------------------------------------------------------------------

    def _ask(self, identity: int, method: str, params: dict[str, Any]) -> None:
        old = _APPROVALS.get(method)
        conversation = self.conversations.get(params.get("threadId", ""))
        if old is None or conversation is None:
            # A question that did not exist: another client of the thread may answer it.
            log.info("a client of the old protocol cannot be asked %s", method)
            return
        if conversation.id not in self.listening.values():
            return
        event, question = conversation.question(old, params)
        self._event(conversation, event)

        def answered(response: rpc.ClientResponse) -> None:
            self._asked.pop(identity, None)
            conversation.submit()
            self._decide(conversation, identity, params["itemId"], response)

        self._asked[identity] = self._client.ask(conversation.id, old, _encode(question), answered)

    def _decide(
        self, conversation: Conversation, identity: int, item: str, response: rpc.ClientResponse
    ) -> None:
        try:
            decision = msgspec.json.decode(response.result or b"null", type=ReviewDecision).decision
        except msgspec.MsgspecError:
            # As release 0.58: an answer that is none is a no.
            log.warning("an approval was answered with no decision")
            decision = "denied"
        self._outbox.control(_encode({"id": identity, "result": {"decision": DECISIONS[decision]}}) + b"\n")
        for event in conversation.decided(item, decision):
            self._event(conversation, event)
