"""What is asked of a model, and of whom: the request and the provider, both plain values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import httpx
import msgspec

from workers.models.errors import ProviderUnusableError

__all__ = ["Admission", "Authorize", "InputItem", "ModelRequest", "Provider", "Reasoning", "endpoint"]

InputItem = msgspec.Raw | dict[str, Any]
"""One item of the history in Responses form: as it was stored (`Raw`), or as a dict."""

Authorize = Callable[[], Awaitable[Mapping[str, str]]]
"""Gives the credential headers of one HTTP request. Asked anew for every try, so that a token that was
refreshed after a 401 is used."""


class Admission(Protocol):
    """Who has to know how a request goes, beside the provider. No method may block."""

    def ended(self) -> None:
        """A try is over, well or not. May come more than once."""
        ...

    def throttled(self, wait_s: float) -> None:
        """The provider wants everybody to wait for so many seconds."""
        ...

    async def renewed(self) -> bool:
        """After a 401: whether `authorize` has other credentials now."""
        ...


class Reasoning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much a model shall think (`effort`), from which thoughts on (`context`), and what of it is told (`summary`).

    Names are the provider's.
    """

    effort: str | None = None
    summary: str | None = None
    context: str | None = None


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request for one model response.

    `instructions` are the base instructions. `tools` are in Responses form. `output_schema` is a JSON Schema the
    final message has to fit. `prompt_cache_key` is the thread id. `reasoning` of None leaves the choice to the provider.
    """

    model: str
    instructions: str = ""
    input: Sequence[InputItem] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    parallel_tool_calls: bool = True
    reasoning: Reasoning | None = None
    verbosity: str | None = None
    output_schema: Mapping[str, Any] | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A model provider. The defaults of the limits are the peer's.

    `headers` and `query_params` go with every request. `request_max_retries` bounds how often one HTTP request is
    tried again (server errors, lost connections), `stream_max_retries` how often the whole response is asked for
    again. `stream_idle_timeout_ms` is the longest silence: of a stream, and before the first byte.
    """

    name: str
    base_url: str
    wire_api: Literal["responses", "chat"] = "responses"
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    query_params: Mapping[str, str] = msgspec.field(default_factory=dict)
    request_max_retries: int = 4
    stream_max_retries: int = 5
    stream_idle_timeout_ms: int = 300_000


def endpoint(provider: Provider, path: str) -> httpx.URL:
    """Join `path` to the URL of the provider. Raises `ProviderUnusableError` where `base_url` is none."""
    try:
        url = httpx.URL(provider.base_url.rstrip("/") + path)
    except httpx.InvalidURL as error:
        raise ProviderUnusableError(f"provider {provider.name}: base_url is not a URL: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ProviderUnusableError(
            f"provider {provider.name}: base_url has to begin with http:// or https://"
        )
    return url.copy_merge_params(dict(provider.query_params)) if provider.query_params else url
