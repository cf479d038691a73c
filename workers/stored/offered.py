"""Which models a provider has, by its own `GET /models`."""

from __future__ import annotations

import os

import msgspec

from config.errors import ConfigError
from config.providers import find_provider
from protocol.base import Wire
from protocol.link_calls import OfferedCall, OfferedModels
from workers.stored.configuration import load
from workers.stored.http import HttpError
from workers.stored.http import request as ask
from workers.stored.request import StoredRequest

__all__ = ["list_"]

TIMEOUT_S = 2.0
"""A client waits with its list of models for this answer."""
ANSWER_MAX_BYTES = 1024 * 1024
MODELS_MAX = 1000


class _Entry(msgspec.Struct):
    """`id` in the form of OpenAI, `slug` in that of Codex's backend."""

    id: str = ""
    slug: str = ""


class _List(msgspec.Struct):
    data: list[_Entry] = []
    models: list[_Entry] = []


def list_(request: StoredRequest) -> Wire:
    """The front's own question. What goes wrong is told, not raised: there is always the catalogue."""
    call = request.params(OfferedCall)
    try:
        endpoint = find_provider(load(request), call.provider).endpoint(call.provider, os.environ)
        body = ask(
            "GET",
            f"{endpoint.base_url}/models",
            headers=call.headers,
            query=endpoint.query_params,
            timeout_s=TIMEOUT_S,
            answer_max_bytes=ANSWER_MAX_BYTES,
        )
        answer = msgspec.json.decode(body, type=_List)
    except (ConfigError, HttpError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return OfferedModels(problem=str(error))
    names = dict.fromkeys(entry.slug or entry.id for entry in (*answer.data, *answer.models))
    names.pop("", None)
    return OfferedModels(ids=list(names)[:MODELS_MAX])
