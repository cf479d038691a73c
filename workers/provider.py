"""How a worker reaches its model: one HTTP client, the provider of the thread, the headers of each request."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from config.providers import ProviderEndpoint
from protocol.link_calls import Authorization, AuthorizeCall
from workers.admission import Admission, authorization_for
from workers.link import Link
from workers.models import ModelRequest, Provider, Reasoning, make_client
from workers.session import Session

__all__ = ["ModelAccess"]

FRESH_S = 1.0
"""Headers that were asked for to learn the URL serve the request that follows at once."""


class ModelAccess:
    def __init__(self, link: Link, provider: str, user_agent: str, originator: str) -> None:
        self._link = link
        self._provider = provider
        self._user_agent = user_agent
        self._originator = originator
        self._client: httpx.AsyncClient | None = None
        self._known: tuple[float, Authorization] | None = None

    @property
    def client(self) -> httpx.AsyncClient:
        """Made at the first turn: a thread that is only looked at opens nothing."""
        if self._client is None:
            self._client = make_client(user_agent=self._user_agent, originator=self._originator)
        return self._client

    async def provider(self, endpoint: ProviderEndpoint) -> Provider:
        """Where to send to; that depends on the kind of login.

        Raises:
            ProviderUnusableError: there are no credentials.
        """
        authorization = await authorization_for(self._link, AuthorizeCall(provider=self._provider))
        self._known = (time.monotonic(), authorization)
        return Provider(
            name=endpoint.name,
            base_url=endpoint.url(chatgpt_login=authorization.chatgpt_login),
            wire_api=endpoint.wire_api,
            query_params=endpoint.query_params,
            request_max_retries=endpoint.request_max_retries,
            stream_max_retries=endpoint.stream_max_retries,
            stream_idle_timeout_ms=endpoint.stream_idle_timeout_ms,
        )

    def admission(self) -> Admission:
        """For the next response."""
        known, self._known = self._known, None
        fresh = known is not None and time.monotonic() - known[0] < FRESH_S
        return Admission(self._link, self._provider, known[1] if known and fresh else None)

    @staticmethod
    def turn_headers(session: Session, turn_id: str) -> dict[str, str]:
        return {"session-id": session.id, "thread-id": session.id, "x-client-request-id": turn_id}

    @staticmethod
    def request(session: Session, tools: Sequence[Mapping[str, Any]], schema: Any) -> ModelRequest:
        settings = session.settings
        info = settings.model_info
        reasoning = Reasoning(
            effort=settings.reasoning_effort or info.default_effort,
            summary=_told(settings.reasoning_summary or info.summary),
            context=info.reasoning_context,
        )
        return ModelRequest(
            model=settings.model,
            instructions=session.instructions,
            input=session.model_items(),
            tools=tools,
            parallel_tool_calls=settings.model_info.parallel_tool_calls,
            reasoning=reasoning if reasoning != Reasoning() else None,
            verbosity=settings.verbosity,
            output_schema=schema,
            prompt_cache_key=session.id,
            service_tier=settings.service_tier,
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def _told(summary: str | None) -> str | None:
    return None if summary == "none" else summary
