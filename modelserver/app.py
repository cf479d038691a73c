"""The routes of the scripted model.

POST /v1/responses           the Responses API
POST /v1/chat/completions    the Chat Completions API
GET  /v1/models              the one model there is; any model name is accepted
GET  /health                 {"status": "ok", "requests": N, "streams": N}
GET  /log                    the newest requests; with ?since=VERSION&timeout=SECONDS it waits for news
DELETE /log                  forgets them
"""

from __future__ import annotations

import secrets
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from modelserver import conversation
from modelserver.actions import Status
from modelserver.chat import ChatAnswer
from modelserver.delivery import Audience, Delivery
from modelserver.errors import RequestError
from modelserver.frames import Answer
from modelserver.journal import Entry, Journal
from modelserver.playback import Attempts, Performance, perform
from modelserver.responses import ResponsesAnswer

__all__ = ["MODEL", "ModelApp"]

MODEL = "scripted-model"
MAX_BODY = 64 * 1024 * 1024
"""Bytes of a request, unpacked. Long conversations with images stay below."""
MAX_WAIT = 60.0
"""Seconds that GET /log waits at most, below the read timeouts of HTTP clients that are set with care."""

_GZIP = 16 + zlib.MAX_WBITS
_THREAD_HEADERS = ("thread-id", "session-id", "conversation_id", "session_id")
"""How clients name the conversation that a request belongs to, the best name first."""

Read: TypeAlias = Callable[[Mapping[str, Any]], conversation.Conversation]
Write: TypeAlias = Callable[[Performance, dict[str, Any], str, int], Answer]


class ModelApp:
    """The application and what it remembers. `starlette` is the ASGI application."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.attempts = Attempts()
        self.audiences: set[Audience] = set()
        # Ids must differ between servers too: a conversation may outlive the server that began it.
        self.nonce = secrets.token_hex(3)
        self.starlette = Starlette(
            routes=[
                Route("/v1/responses", self.responses, methods=["POST"]),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/health", self.health),
                Route("/log", self.log),
                Route("/log", self.forget, methods=["DELETE"]),
            ],
            exception_handlers={
                RequestError: self.refused,
                HTTPException: self.not_served,
                ClientDisconnect: self.left,
            },
        )

    def close(self) -> None:
        """End every answer that still runs, those that hang included."""
        for audience in list(self.audiences):
            audience.leave()
        self.journal.wake()

    async def responses(self, request: Request) -> Response:
        entry, body = await self._read(request)
        if not isinstance(body.get("input"), list | str):
            raise RequestError(400, "`input` must be a string or an array of items", "invalid_input")
        return self._play(request, entry, body, conversation.of_responses, ResponsesAnswer)

    async def chat(self, request: Request) -> Response:
        entry, body = await self._read(request)
        if not isinstance(body.get("messages"), list):
            raise RequestError(400, "`messages` must be an array", "invalid_messages")
        return self._play(request, entry, body, conversation.of_chat, ChatAnswer)

    async def models(self, request: Request) -> Response:
        self._note(request, b"", valid=False)
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "bulkhead"}
        return self._close(request, 200, {"object": "list", "data": [model]})

    async def health(self, request: Request) -> Response:
        return _json(200, {"status": "ok", "requests": self.journal.total, "streams": len(self.audiences)})

    async def log(self, request: Request) -> Response:
        query = request.query_params
        try:
            since = int(query.get("since", "-1"))
            timeout = min(max(float(query.get("timeout", "0")), 0.0), MAX_WAIT)
        except ValueError:
            raise RequestError(400, "`since` and `timeout` are numbers", "invalid_query") from None
        await self.journal.wait(since, timeout)
        return Response(self.journal.page(), media_type="application/json")

    async def forget(self, request: Request) -> Response:
        self.journal.clear()
        return Response(status_code=204)

    async def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return self._close(request, error.status, _error(error.message, error.code))

    async def not_served(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        self._note(request, b"", valid=False)
        message = f"{request.method} {request.url.path} is not served by the scripted model"
        return self._close(request, error.status_code, _error(message, "not_found"))

    async def left(self, request: Request, error: Exception) -> Response:
        """Answer a client that went before its request was complete: nobody reads this."""
        return Response(status_code=400)

    def _play(
        self, request: Request, entry: Entry, body: dict[str, Any], read: Read, write: Write
    ) -> Response:
        performance = perform(read(body), _thread(request, body), self.attempts)
        if performance.status is not None:
            return self._scripted_status(request, performance.status, performance.headers)
        unique = f"{self.nonce}{entry.n:05d}"
        return Delivery(
            write(performance, body, unique, int(time.time())),
            streamed=body.get("stream") is True,
            headers=performance.headers,
            journal=self.journal,
            entry=entry,
            audiences=self.audiences,
        )

    def _scripted_status(
        self, request: Request, status: Status, headers: tuple[tuple[str, str], ...]
    ) -> Response:
        message = f"The script answers with status {status.code}."
        body = (
            _error(message, "scripted_status") if status.body is None else msgspec.Raw(status.body.encode())
        )
        response = self._close(request, status.code, body)
        for name, value in headers + status.headers:
            response.headers.append(name, value)
        return response

    async def _read(self, request: Request) -> tuple[Entry, dict[str, Any]]:
        raw = await _body(request)
        try:
            body = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            self._note(request, raw, valid=False)
            raise RequestError(400, f"the body is no JSON: {error}", "invalid_json") from None
        entry = self._note(request, raw, valid=True)
        if not isinstance(body, dict):
            raise RequestError(400, "the body must be a JSON object", "invalid_json")
        if not isinstance(body.setdefault("model", MODEL), str):
            raise RequestError(400, "`model` must be a string", "invalid_model")
        return entry, body

    def _note(self, request: Request, raw: bytes, *, valid: bool) -> Entry:
        path = request.url.path
        entry = self.journal.add(request.method, path, request.headers.items(), raw, valid=valid)
        request.state.entry = entry
        return entry

    def _close(self, request: Request, status: int, body: Any) -> Response:
        entry = getattr(request.state, "entry", None)
        if entry is not None:
            self.journal.answered(entry, status)
            self.journal.settled(entry, "done")
        return _json(status, body)


async def _body(request: Request) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY:
            raise RequestError(413, f"the body is larger than {MAX_BODY} bytes", "body_too_large")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding == "identity":
        return bytes(raw)
    if encoding != "gzip":
        raise RequestError(415, f"content-encoding {encoding} is not understood", "unknown_encoding")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        whole = unpacker.decompress(bytes(raw), MAX_BODY)
    except zlib.error as error:
        raise RequestError(400, f"the body is no gzip: {error}", "invalid_gzip") from None
    if not unpacker.eof:
        raise RequestError(400, "the body is torn or too large once unpacked", "invalid_gzip")
    return whole


def _thread(request: Request, body: Mapping[str, Any]) -> str:
    key = body.get("prompt_cache_key")
    if isinstance(key, str):
        return key
    return next((request.headers[name] for name in _THREAD_HEADERS if name in request.headers), "")


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _json(status: int, body: Any) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
