"""Logins to MCP servers: begun by clients, kept by the front, used by workers, which see single access tokens."""

from __future__ import annotations

import asyncio
import importlib
import logging
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from auth.errors import AuthError, LoginError
from auth.keeper import fingerprint
from auth.mcp_tokens import McpToken, McpTokens
from config.mcp_servers import McpServer, mcp_servers_of
from protocol.base import Wire
from protocol.link_calls import McpTokenAnswer, McpTokenCall
from protocol.mcp import McpServerOauthLoginCompletedNotification, McpServerOauthLoginParams
from protocol.session import PROTOCOL_VERSION
from supervisor.configuration import Configuration

if TYPE_CHECKING:
    import httpx

    from auth.mcp_login import McpLogin

__all__ = ["McpLogins"]

log = logging.getLogger("bulkhead.mcp-logins")

DEFAULT_TIMEOUT_S = 300.0
"""How long a person may take."""
LINGER_S = 5.0
"""A browser follows its redirection to the last page within this."""
AT_ONCE = 16
"""Logins under way; each has a port."""


class McpLogins:
    """`tell` sends a notification to all clients."""

    def __init__(self, configuration: Configuration, tell: Callable[[str, Wire], None]) -> None:
        self._configuration = configuration
        self._tell = tell
        self._tokens = McpTokens(configuration.home)
        self._http: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self._saving = asyncio.Lock()

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            # Only who logs in to a server needs it: a start would be 30 ms longer.
            transport = importlib.import_module("network.transport")
            self._http = transport.make_client(
                user_agent=f"bulkhead-mcp-client/{PROTOCOL_VERSION}", originator="bulkhead"
            )
        return self._http

    async def begin(self, server: McpServer, params: McpServerOauthLoginParams) -> tuple[str, str]:
        """The id of the login, and the address to show.

        :raises LoginError: it cannot begin.
        """
        if len(self._tasks) >= AT_ONCE:
            raise LoginError("too many logins are under way")
        assert server.url is not None
        module = await asyncio.to_thread(importlib.import_module, "auth.mcp_login")
        flow: McpLogin = module.McpLogin(
            self._client(),
            server.name,
            server.url,
            client_id=server.oauth.client_id if server.oauth else None,
            scopes=tuple(params.scopes) if params.scopes is not None else server.scopes,
            resource=server.oauth_resource,
        )
        try:
            await flow.open(self._configuration.settings.mcp_oauth_callback_port)
        except BaseException:
            await flow.close()
            raise
        identity = str(uuid.uuid4())
        task = asyncio.ensure_future(self._see_through(identity, flow, params))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return identity, flow.url

    async def _see_through(self, identity: str, flow: McpLogin, params: McpServerOauthLoginParams) -> None:
        try:
            error = await self._outcome(flow, params)
            self._tell(
                "mcpServer/oauthLogin/completed",
                McpServerOauthLoginCompletedNotification(
                    name=params.name,
                    login_id=identity,
                    thread_id=params.thread_id,
                    success=error is None,
                    error=error,
                ),
            )
            await asyncio.sleep(LINGER_S)
        finally:
            await flow.close()

    async def _outcome(self, flow: McpLogin, params: McpServerOauthLoginParams) -> str | None:
        """Why there is no login; None: there is one, and it is kept."""
        try:
            token = await flow.token(params.timeout_secs or DEFAULT_TIMEOUT_S)
            await self._save(token)
        except AuthError as failure:
            return str(failure)
        except Exception:
            log.exception("a login to an MCP server failed")
            return "internal error"
        return None

    async def access_token(self, call: McpTokenCall) -> McpTokenAnswer:
        """For a worker's connection; None: there is no login, or it is over."""
        async with self._locks.setdefault(call.url, asyncio.Lock()):
            try:
                token = await asyncio.to_thread(self._tokens.load, call.name, call.url)
                if token is not None and (token.stale or fingerprint(token.access_token) == call.refused):
                    token = await self._renew(token)
            except AuthError as error:
                log.warning("no token for the MCP server %s: %s", call.name, error)
                token = None
        if token is None:
            return McpTokenAnswer()
        return McpTokenAnswer(token=token.access_token, mark=fingerprint(token.access_token))

    async def _renew(self, token: McpToken) -> McpToken:
        module = await asyncio.to_thread(importlib.import_module, "auth.mcp_login")
        servers = mcp_servers_of(self._configuration.document)
        resource = next((one.oauth_resource for one in servers if one.name == token.server_name), None)
        fresh: McpToken = await module.renewed(self._client(), token, resource)
        await self._save(fresh)
        return fresh

    async def _save(self, token: McpToken) -> None:
        async with self._saving:  # each save reads what the one before has written
            await asyncio.to_thread(self._tokens.save, token)

    async def close(self) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._http is not None:
            await self._http.aclose()
