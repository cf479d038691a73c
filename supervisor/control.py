"""The control socket: operators talk to a running server, one JSON a line, the same framing as clients.

    {"id": 1, "method": "ps", "params": {...}}  ->  {"id": 1, "result": ...} or {"error": {...}, "id": 1}

The socket lies in the server's 0700 directory, and the kernel's word on the peer's uid is checked besides.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from protocol.rpc import INTERNAL_ERROR, ClientRequest, RpcError, error_line, read_line, result_line
from supervisor.runtime import ServerRecord

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["ASK_TIMEOUT_S", "ControlServer", "ask"]

log = logging.getLogger("bulkhead.control")

Operation = Callable[["Front", dict[str, Any]], Awaitable[dict[str, Any]]]
_CREDENTIALS = struct.Struct("3i")
LINE_BYTES = 1024 * 1024
ASK_TIMEOUT_S = 30.0


class ControlServer:
    """`operations`: what operators may ask for, name -> coroutine function of the front and the params."""

    def __init__(self, front: Front, path: str, operations: Mapping[str, Operation]) -> None:
        self._front = front
        self._operations = operations
        self._path = path
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_BYTES)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._clients):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            if not _same_user(writer.get_extra_info("socket")):
                return
            while line := await reader.readline():
                writer.write(await self._answer(line))
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.IncompleteReadError):
            pass  # the operator went away, or sent something endless
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> bytes:
        request = read_line(line)
        if not isinstance(request, ClientRequest):
            return error_line(b"null", RpcError("not a request"))
        operation = self._operations.get(request.method)
        if operation is None:
            return error_line(request.id, RpcError(f"unknown operation `{request.method}`"))
        try:
            params = msgspec.json.decode(request.params or b"{}", type=dict[str, Any])
            return result_line(request.id, await operation(self._front, params))
        except RpcError as error:
            return error_line(request.id, error)
        except msgspec.MsgspecError as error:
            return error_line(request.id, RpcError(f"params: {error}"))
        except Exception as error:
            log.exception("%s failed", request.method)
            return error_line(request.id, RpcError(f"{request.method} failed: {error}", INTERNAL_ERROR))


def _same_user(peer: socket.socket) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory's mode has to do
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(raw)[1] == os.getuid())


def ask(
    server: ServerRecord, method: str, params: dict[str, Any], timeout: float | None = ASK_TIMEOUT_S
) -> Any:
    """The client's side: one question to one server.

    Raises:
        RpcError: the server's refusal.
        OSError: it is not there any more.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(server.control_socket)
        connection.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = connection.recv(LINE_BYTES)
            if not piece:
                raise ConnectionResetError(f"server {server.name} closed the connection")
            answer += piece
    reply = json.loads(answer)
    if "error" in reply:
        with suppress(KeyError):
            raise RpcError(reply["error"]["message"], reply["error"]["code"], reply["error"].get("data"))
    return reply["result"]
