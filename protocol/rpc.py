"""JSON-RPC-lite: one JSON object a line, no `jsonrpc` member, the peer's key order.

    request       {"id": 1, "method": "...", "params": {...}}
    result        {"id": 1, "result": {...}}
    error         {"error": {"code": -32600, "message": "..."}, "id": 1}
    notification  {"method": "...", "params": {...}, "emittedAtMs": 1795363804751}
    server asks   {"method": "...", "id": 0, "params": {...}}

An id is a string or a 64-bit integer and is echoed as it came. Any other id makes the line a notification.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

import msgspec

from protocol.base import Wire

__all__ = [
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_UNSUPPORTED",
    "OVERLOADED",
    "ClientNotification",
    "ClientRequest",
    "ClientResponse",
    "RpcError",
    "Unreadable",
    "error_line",
    "method_of",
    "notification_line",
    "read_line",
    "request_line",
    "result_line",
]

INVALID_REQUEST = -32600
"""Almost everything: unknown methods, wrong params, unknown threads, wrong states."""
METHOD_UNSUPPORTED = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
OVERLOADED = -32001
"""Sent with `data` that names `server_overloaded`, since the official SDK retries on that word only."""

_INT64 = range(-(2**63), 2**63)
_INTEGER = re.compile(rb"-?(0|[1-9]\d{0,18})\Z")


class RpcError(Exception):
    """A request's refusal, as it goes over the wire."""

    def __init__(self, message: str, code: int = INVALID_REQUEST, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.data = data


class ClientRequest(msgspec.Struct, frozen=True):
    id: bytes
    """The id as raw JSON, to be echoed."""
    method: str
    params: msgspec.Raw | None


class ClientNotification(msgspec.Struct, frozen=True):
    method: str


class ClientResponse(msgspec.Struct, frozen=True):
    id: bytes
    result: msgspec.Raw | None
    error: msgspec.Raw | None


class Unreadable(msgspec.Struct, frozen=True):
    """A line that is no message. `id`: where the line names one beyond doubt, so that it can be answered."""

    reason: str
    id: bytes | None = None


Incoming = ClientRequest | ClientNotification | ClientResponse | Unreadable


_ABSENT = msgspec.Raw(b"")
NULL = msgspec.Raw(b"null")
"""A raw value is equal to raw values only, never to bytes."""


class _Envelope(msgspec.Struct):
    # A raw value cannot be null in a union; an absent member is an empty one.
    id: msgspec.Raw = _ABSENT
    method: str | None = None
    params: msgspec.Raw = _ABSENT
    result: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


class _Error(msgspec.Struct, omit_defaults=True):
    code: int
    message: str


class _ErrorWithData(msgspec.Struct):
    code: int
    data: Any
    message: str


class _Notification(msgspec.Struct):
    method: str
    params: Any
    emittedAtMs: int


_envelope = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


def read_line(line: bytes | bytearray) -> Incoming:
    """What one line of a client means; never raises."""
    try:
        envelope = _envelope.decode(line)
    except msgspec.ValidationError as error:
        return Unreadable(f"not a message: {error}")
    except RecursionError:
        return Unreadable("nested too deeply", _find_id(line))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Broken JSON is not answered (as the peer), but a whole message with a broken byte inside is.
        return Unreadable(f"not JSON: {error}", _id_despite_encoding(line))
    identity = _usable_id(envelope.id)
    if envelope.method is not None:
        if identity is None:
            return ClientNotification(envelope.method)
        return ClientRequest(identity, envelope.method, _present(envelope.params))
    result, failure = _present(envelope.result), _present(envelope.error)
    if identity is not None and (envelope.result or envelope.error):
        return ClientResponse(identity, result, failure)
    return Unreadable("neither request, response nor notification")


def _present(raw: msgspec.Raw) -> msgspec.Raw | None:
    return None if raw in (_ABSENT, NULL) else raw


def _usable_id(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    if text[:1] == b'"':
        with suppress(UnicodeDecodeError):  # what is echoed must be text
            text.decode()
            return text
    elif _INTEGER.match(text) and int(text) in _INT64:
        return text
    return None


_LEADING_ID = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"[^"\\]*"\s*,\s*)?"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*,'
)
_TRAILING_ID = re.compile(rb',\s*"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*\}\s*\Z')
ID_WINDOW = 4096
"""How far from either end of an unreadable line its id is looked for."""


def _find_id(line: bytes | bytearray) -> bytes | None:
    """The id of a line too deep or too long to decode: the first or the last member of its object."""
    found = _LEADING_ID.match(line[:ID_WINDOW]) or _TRAILING_ID.search(line[-ID_WINDOW:])
    return _usable_id(msgspec.Raw(found.group(1))) if found else None


def id_of_ends(head: bytes, tail: bytes) -> bytes | None:
    """As above for a line of which only both ends were kept."""
    found = _LEADING_ID.match(head[:ID_WINDOW]) or _TRAILING_ID.search(tail[-ID_WINDOW:])
    return _usable_id(msgspec.Raw(found.group(1))) if found else None


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def _id_despite_encoding(line: bytes | bytearray) -> bytes | None:
    """The id of a message with a string that is no text: bytes that are no UTF-8, or half a surrogate pair.

    JavaScript writes the latter where it cuts a string in the middle of a character.
    """
    repaired = _SURROGATE.sub(rb"\\ufffd", line.decode(errors="replace").encode())
    if repaired == line:
        return None
    try:
        envelope = _envelope.decode(repaired)
    except (msgspec.MsgspecError, RecursionError):
        return None
    identity = _usable_id(envelope.id) if envelope.method is not None else None
    return identity if identity is not None and identity in line else None


# --- lines to clients -------------------------------------------------------------------------------


def result_line(identity: bytes, result: Wire | dict[str, Any]) -> bytes:
    return b'{"id":' + identity + b',"result":' + _encoder.encode(result) + b"}\n"


def error_line(identity: bytes, error: RpcError) -> bytes:
    body = (
        _Error(error.code, error.message)
        if error.data is None
        else _ErrorWithData(error.code, error.data, error.message)
    )
    return b'{"error":' + _encoder.encode(body) + b',"id":' + identity + b"}\n"


def notification_line(method: str, params: Wire) -> bytes:
    return _encoder.encode(_Notification(method, params, time.time_ns() // 1_000_000)) + b"\n"


def request_line(method: str, identity: int, params: bytes) -> bytes:
    """A request of the server, with params that are JSON already."""
    return (
        b'{"method":"'
        + method.encode()
        + b'","id":'
        + str(identity).encode()
        + b',"params":'
        + params
        + b"}\n"
    )


_METHOD_PREFIX = b'{"method":"'


def method_of(line: bytes) -> str:
    """The method of a line made by `notification_line`, read off its fixed beginning."""
    start = len(_METHOD_PREFIX)
    return line[start : line.index(b'"', start)].decode()
