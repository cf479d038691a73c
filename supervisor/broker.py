"""The credential broker: only the front reads the store; workers get the headers of one request."""

from __future__ import annotations

import logging
import os

import msgspec

from auth.credentials import credentials_of, headers_for, uses_chatgpt
from auth.errors import AuthError
from auth.storage import FileStorage
from config.errors import ConfigError
from config.providers import find_provider
from protocol.link_calls import Authorization, AuthorizeCall
from supervisor.configuration import Configuration

__all__ = ["Broker"]

log = logging.getLogger("bulkhead.broker")


class Broker:
    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._storage = FileStorage(configuration.home)

    def answer(self, question: bytes) -> bytes:
        """The answer to a worker's call; what goes wrong is told in it."""
        try:
            call = msgspec.json.decode(question, type=AuthorizeCall)
            answer = self._authorize(call.provider)
        except (AuthError, ConfigError, msgspec.MsgspecError) as error:
            answer = Authorization(problem=str(error))
        return msgspec.json.encode(answer)

    def _authorize(self, provider_id: str) -> Authorization:
        provider = find_provider(self._configuration.document, provider_id)
        credentials = credentials_of(self._storage.load()) if provider.requires_openai_auth else None
        return Authorization(
            headers=headers_for(provider, os.environ, credentials),
            chatgpt_login=uses_chatgpt(provider, credentials),
        )
