"""The handshake."""

from __future__ import annotations

from typing import Any

from protocol.base import Params, Wire

__all__ = ["ClientInfo", "InitializeCapabilities", "InitializeParams", "InitializeResponse"]

PROTOCOL_VERSION = "0.169.0"
"""The release of the peer whose protocol we speak. Clients parse it out of our user agent and refuse older ones."""


class ClientInfo(Params, kw_only=True):
    name: str
    version: str
    title: str | None = None


class InitializeCapabilities(Params, kw_only=True):
    experimental_api: bool = False
    opt_out_notification_methods: list[str] | None = None
    extensions: dict[str, Any] | None = None


class InitializeParams(Params, kw_only=True):
    client_info: ClientInfo
    capabilities: InitializeCapabilities | None = None


class InitializeResponse(Wire, kw_only=True):
    user_agent: str
    codex_home: str
    platform_family: str
    platform_os: str
