"""An MCP server that is reached by streamable HTTP."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
from mcp.client.streamable_http import streamable_http_client

from config.mcp_servers import McpServer
from network.transport import CONNECT_TIMEOUT_S, proxy_for, tls_context
from workers.mcp.errors import StartFailed
from workers.mcp.surroundings import Surroundings

__all__ = ["Web", "reached"]

UNAUTHORIZED, NOT_FOUND = 401, 404


class Web:
    """`read` and `write` are what the SDK's session wants. `status`: of the last answer that was a refusal."""

    def __init__(self) -> None:
        self.read: Any = None
        self.write: Any = None
        self.status = 0
        self.mark: str | None = None
        """Names the login's token that it is used with, if there is one."""
        self.challenged = False
        """Whether a refusal has told where to log in."""

    @property
    def refused(self) -> str | None:
        """The mark of the token that it takes no more."""
        return self.mark if self.status == UNAUTHORIZED else None

    async def look(self, response: httpx2.Response) -> None:
        if response.request.method != "POST" or response.is_success:
            return  # a server need not have a stream of its own, and says so with a refusal
        self.status = response.status_code
        if response.status_code == UNAUTHORIZED:
            self.challenged = "resource_metadata" in response.headers.get("www-authenticate", "")


@asynccontextmanager
async def reached(
    server: McpServer, surroundings: Surroundings, refused: str | None = None
) -> AsyncIterator[Web]:
    """`refused`: the mark of a token that it took no more.

    :raises StartFailed: a variable that it needs is not set, or the way to it cannot be used.
    """
    assert server.url is not None
    web = Web()
    headers = _headers(server, surroundings)
    if not any(name.lower() == "authorization" for name in headers):
        found = await surroundings.authorize(server.name, server.url, refused)
        if found is not None:
            token, web.mark = found
            headers["authorization"] = f"Bearer {token}"
    try:
        url = httpx.URL(server.url)
        secure = url.scheme == "https"
        # Where nothing is encrypted the context is never used.
        verify = tls_context(surroundings.environ) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client = httpx2.AsyncClient(
            headers=headers,
            # How long an answer may take is the business of whoever waits for it.
            timeout=httpx2.Timeout(CONNECT_TIMEOUT_S, read=None),
            trust_env=False,
            proxy=proxy_for(url, surroundings.environ),
            verify=verify,
            event_hooks={"response": [web.look]},
        )
    except Exception as error:  # noqa: BLE001 - an address, a proxy or a certificate that is wrong in one of many ways
        raise StartFailed(f"{type(error).__name__}: {error}") from None
    async with client, streamable_http_client(server.url, http_client=client) as (web.read, web.write):
        yield web


def _headers(server: McpServer, surroundings: Surroundings) -> dict[str, str]:
    environ: Mapping[str, str] = surroundings.environ
    headers = {"user-agent": "bulkhead-mcp-client", **(server.http_headers or {})}
    for name, variable in (server.env_http_headers or {}).items():
        if environ.get(variable):
            headers[name] = environ[variable]
    if server.bearer_token_env_var is not None:
        token = environ.get(server.bearer_token_env_var)
        if not token:
            raise StartFailed(
                f"Environment variable {server.bearer_token_env_var} for MCP server '{server.name}' is not set"
            )
        headers["authorization"] = f"Bearer {token}"
    return headers
