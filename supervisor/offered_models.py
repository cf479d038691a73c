"""Which models providers say they have, remembered; the catalog asks them.

OpenAI's own is not asked: its list has everything it ever had, and what of that is for agents stands in the catalogue.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import msgspec

from auth.credentials import headers_for
from auth.errors import AuthError
from config.providers import ModelProvider, find_provider
from protocol.link_calls import OFFERED_MODELS, OfferedCall
from protocol.link_calls import OfferedModels as Answer
from protocol.rpc import RpcError

if TYPE_CHECKING:
    from supervisor.catalog import Catalog
    from supervisor.configuration import Configuration

__all__ = ["OfferedModels"]

log = logging.getLogger("bulkhead.models")

KEEP_S = 300.0
KEEP_FAILURE_S = 30.0
"""A provider that is just being started should be asked again soon."""

Offer = tuple[str, ...] | None
"""None: it does not say."""


class OfferedModels:
    def __init__(self, configuration: Configuration, catalog: Catalog) -> None:
        self._configuration = configuration
        self._catalog = catalog
        self._known: dict[tuple[str, str], tuple[float, Offer]] = {}
        """By provider and address: until when, and what."""
        self._asking: dict[tuple[str, str], asyncio.Task[Offer]] = {}

    async def of(self, identifier: str) -> Offer:
        """The ids in the provider's order.

        :raises ConfigError: there is no such provider.
        """
        provider = find_provider(self._configuration.document, identifier)
        if provider.requires_openai_auth or provider.base_url is None:
            return None
        key = identifier, provider.base_url
        loop = asyncio.get_running_loop()
        until, offer = self._known.get(key, (0.0, None))
        if until > loop.time():
            return offer
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = loop.create_task(self._ask(key, provider))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # A client that goes away must not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask(self, key: tuple[str, str], provider: ModelProvider) -> Offer:
        try:
            call = OfferedCall(provider=key[0], headers=headers_for(provider, os.environ))
            answer = msgspec.json.decode(await self._catalog.call(OFFERED_MODELS, call), type=Answer)
        except (AuthError, RpcError) as error:
            answer = Answer(problem=str(error))
        # An empty list says nothing: no provider has no models.
        offer = tuple(answer.ids) or None
        if offer is None:
            log.info("provider %s does not say which models it has: %s", key[0], answer.problem)
        keep = KEEP_FAILURE_S if offer is None else KEEP_S
        self._known[key] = asyncio.get_running_loop().time() + keep, offer
        return offer
