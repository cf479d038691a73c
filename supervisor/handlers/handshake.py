"""`initialize`."""

from __future__ import annotations

import os
import platform
import re
import socket
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from protocol.notifications import RemoteControlStatus
from protocol.rpc import RpcError
from protocol.session import InitializeParams, InitializeResponse
from supervisor.afterwards import after
from supervisor.connection import Connection
from supervisor.user_agent import user_agent

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["initialize"]

_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*\Z")


def initialize(front: Front, connection: Connection, params: InitializeParams) -> InitializeResponse:
    if connection.initialized:
        raise RpcError("Already initialized")
    client = params.client_info
    if not client.name or not _HEADER_VALUE.match(client.name):
        raise RpcError(f"Invalid clientInfo.name: '{client.name}'. Must be a valid HTTP header value.")
    connection.accept(params)
    after(lambda: _warn(front, connection))
    after(lambda: connection.notify("remoteControl/status/changed", _remote(front.home)))
    return InitializeResponse(
        user_agent=user_agent(client.name, client.version),
        codex_home=front.home,
        platform_family="unix",
        platform_os={"Darwin": "macos"}.get(platform.system(), platform.system().lower()),
    )


def _warn(front: Front, connection: Connection) -> None:
    for warning in front.configuration.warnings:
        connection.notify("configWarning", warning)


def _remote(home: str) -> RemoteControlStatus:
    return RemoteControlStatus(server_name=socket.gethostname(), installation_id=_installation(home))


def _installation(home: str) -> str:
    """The id that both programs keep in the home; made at the first need."""
    path = os.path.join(home, "installation_id")
    with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        return str(uuid.UUID(file.read().strip()))
    made = str(uuid.uuid4())
    with suppress(OSError), open(path, "w", encoding="ascii") as file:
        file.write(made)
    return made
