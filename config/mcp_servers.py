"""`[mcp_servers.NAME]`: how each MCP server is started or reached, and what of it a thread may use."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from config.document import Document
from config.validation import convert, refusal

__all__ = ["ApprovalMode", "EnvVar", "McpServer", "http_origin", "mcp_servers_of"]

STARTUP_TIMEOUT_S = 30.0
TOOL_TIMEOUT_S = 300.0
"""Both as the peer's."""

ApprovalMode = Literal["auto", "prompt", "writes", "approve"]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
_STDIO_ONLY = ("args", "env", "env_vars", "cwd")
_HTTP_ONLY = ("url", "bearer_token_env_var", "http_headers", "env_http_headers", "oauth", "oauth_resource")


class EnvVar(msgspec.Struct, frozen=True):
    """A variable of the server's own that the program gets. Those of a `remote` source have no meaning here."""

    name: str
    source: Literal["local", "remote"] | None = None


class ToolSettings(msgspec.Struct, frozen=True, kw_only=True):
    approval_mode: ApprovalMode | None = None


class OAuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    client_id: str | None = None


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """One table. Either `command` (a program spoken to by its stdin and stdout) or `url` (streamable HTTP) is set.

    cwd: absolute, or None for the thread's. env, env_vars: beyond the few variables that every such program gets.
    enabled_tools: None means all; disabled_tools are taken out of them. tools: by the tool's name.
    """

    name: str = ""
    command: str | None = None
    args: tuple[str, ...] | None = None
    env: dict[str, str] | None = None
    env_vars: tuple[str | EnvVar, ...] | None = None
    cwd: str | None = None
    url: str | None = None
    bearer_token: str | None = None
    bearer_token_env_var: str | None = None
    http_headers: dict[str, str] | None = None
    env_http_headers: dict[str, str] | None = None
    enabled: bool = True
    required: bool = False
    startup_timeout_sec: Seconds | None = None
    startup_timeout_ms: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tool_timeout_sec: Seconds | None = None
    default_tools_approval_mode: ApprovalMode | None = None
    enabled_tools: tuple[str, ...] | None = None
    disabled_tools: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    oauth: OAuthSettings | None = None
    oauth_resource: str | None = None
    tools: dict[str, ToolSettings] = {}
    file: str | None = None
    """The `config.toml` that the table stands in; None for one that a flag or a request brings."""

    @property
    def startup_timeout_s(self) -> float:
        if self.startup_timeout_sec is not None:
            return self.startup_timeout_sec
        return STARTUP_TIMEOUT_S if self.startup_timeout_ms is None else self.startup_timeout_ms / 1000

    @property
    def tool_timeout_s(self) -> float:
        return TOOL_TIMEOUT_S if self.tool_timeout_sec is None else self.tool_timeout_sec

    @property
    def forwarded(self) -> tuple[str, ...]:
        """The names in `env_vars`."""
        return tuple(
            variable if isinstance(variable, str) else variable.name
            for variable in self.env_vars or ()
            if isinstance(variable, str) or variable.source != "remote"
        )

    def allows(self, tool: str) -> bool:
        return (self.enabled_tools is None or tool in self.enabled_tools) and tool not in self.disabled_tools

    def approval_mode(self, tool: str) -> ApprovalMode:
        own = self.tools.get(tool)
        return (own and own.approval_mode) or self.default_tools_approval_mode or "auto"

    def identity(self) -> bytes:
        """The same for tables that start the same server: what else they say does not ask for another one."""
        return msgspec.json.encode([getattr(self, name) for name in _IDENTITY])


_IDENTITY = ("command", *_STDIO_ONLY, *_HTTP_ONLY, "enabled", "scopes")


def mcp_servers_of(document: Document, cwd: str | None = None) -> tuple[McpServer, ...]:
    """All tables, in the order of their names. A relative `cwd` of theirs is meant from `cwd`.

    :raises InvalidSettingError: one is wrong. A client can use nothing of it then, so it is told at once.
    """
    tables = document.merged().get("mcp_servers")
    if not isinstance(tables, dict):
        return ()
    return tuple(_server(document, name, tables[name], cwd) for name in sorted(tables))


def _server(document: Document, name: str, table: Any, cwd: str | None) -> McpServer:
    path = ("mcp_servers", name)
    if not isinstance(table, dict):
        raise refusal(document, path, "expected a table")
    # `name` is a label of old files; the key is the name. `file` is ours.
    values = {key: value for key, value in table.items() if key not in ("name", "file")}
    server = convert(values, McpServer, document, path)
    if server.command is not None:
        _refuse_any(document, path, server, ("bearer_token", *_HTTP_ONLY), "stdio")
    elif server.url is not None:
        _refuse_any(document, path, server, ("bearer_token", *_STDIO_ONLY), "streamable_http")
    else:
        raise refusal(document, path, "invalid transport")
    layer = document.layer_of(path)
    folder = server.cwd if server.cwd is None or cwd is None else os.path.join(cwd, server.cwd)
    file = None if layer is None else layer.origin.file
    return msgspec.structs.replace(server, name=name, cwd=folder, file=file)


def _refuse_any(
    document: Document, path: tuple[str, str], server: McpServer, names: tuple[str, ...], transport: str
) -> None:
    for name in names:
        if getattr(server, name) is not None:
            raise refusal(document, path, f"{name} is not supported for {transport}")


def http_origin(server: McpServer) -> str | None:
    """Scheme, host and port of a server that has a URL: a path may hold secrets."""
    if server.url is None:
        return None
    try:
        parts = urlsplit(server.url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "") if host else None
    except ValueError:
        return None
