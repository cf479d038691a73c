"""Model providers: the built-in ones, `[model_providers.NAME]`, and what a worker is told about one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from config.document import Document
from config.errors import ProviderNotFoundError
from config.validation import convert, refusal

__all__ = [
    "BUILT_IN_PROVIDERS",
    "DEFAULT_PROVIDER",
    "ModelProvider",
    "ProviderEndpoint",
    "find_provider",
    "providers_of",
]

WireApi = Literal["responses", "chat"]
Count = Annotated[int, msgspec.Meta(ge=0)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1)]

# Codex 0.169 has the same three.
DEFAULT_REQUEST_RETRIES = 4
DEFAULT_STREAM_RETRIES = 5
DEFAULT_STREAM_IDLE_MS = 300_000
# Each retry doubles the wait, so more would never be reached by a user who is still there.
MAX_RETRIES = 100

DEFAULT_PROVIDER = "openai"
OPENAI_BASE_URL = "https://api.openai.com/v1"
CHATGPT_CODEX_URL = "https://chatgpt.com/backend-api/codex"
OPENAI_BASE_VARIABLE = "OPENAI_BASE_URL"


OPENAI_KEY_VARIABLES = ("OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN")
"""Where keys of the first-party provider are looked for."""


class ProviderEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker needs to talk to a provider; the credentials come from the broker, a request at a time.

    `chatgpt_base_url` is where requests go instead when the broker's headers are those of a ChatGPT login.
    `stream_idle_timeout_ms` is the longest silence within one stream.
    """

    id: str
    name: str
    base_url: str
    chatgpt_base_url: str | None = None
    wire_api: WireApi = "responses"
    query_params: dict[str, str] = {}
    request_max_retries: int = DEFAULT_REQUEST_RETRIES
    stream_max_retries: int = DEFAULT_STREAM_RETRIES
    stream_idle_timeout_ms: int = DEFAULT_STREAM_IDLE_MS
    supports_websockets: bool = False

    def url(self, *, chatgpt_login: bool) -> str:
        return (self.chatgpt_base_url if chatgpt_login else None) or self.base_url


class ModelProvider(msgspec.Struct, frozen=True, kw_only=True):
    """One `[model_providers.NAME]`. Its `repr` leaves out what may be secret."""

    name: str
    base_url: str | None = None
    wire_api: WireApi = "responses"
    env_key: str | None = None
    env_key_instructions: str | None = None
    experimental_bearer_token: str | None = None
    http_headers: dict[str, str] | None = None
    env_http_headers: dict[str, str] | None = None
    query_params: dict[str, str] | None = None
    request_max_retries: Count | None = None
    stream_max_retries: Count | None = None
    stream_idle_timeout_ms: Milliseconds | None = None
    requires_openai_auth: bool = False
    supports_websockets: bool = False

    def __repr__(self) -> str:
        return f"ModelProvider(name={self.name!r}, base_url={self.base_url!r}, wire_api={self.wire_api!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name), ("base_url", self.base_url), ("wire_api", self.wire_api)]

    @property
    def secret_variables(self) -> tuple[str, ...]:
        """Names of the variables of the environment that may hold its keys."""
        return (*OPENAI_KEY_VARIABLES, *filter(None, [self.env_key]), *(self.env_http_headers or {}).values())

    def endpoint(
        self, identifier: str, environ: Mapping[str, str], *, openai_base_url: str | None = None
    ) -> ProviderEndpoint:
        """The worker's view of this provider.

        Without a `base_url` of its own it is OpenAI's, moved by the setting `openai_base_url` or, after
        that, by the variable OPENAI_BASE_URL.
        """
        moved = self.base_url or openai_base_url or environ.get(OPENAI_BASE_VARIABLE)
        retries = self.request_max_retries
        again = self.stream_max_retries
        return ProviderEndpoint(
            id=identifier,
            name=self.name,
            base_url=(moved or OPENAI_BASE_URL).rstrip("/"),
            chatgpt_base_url=None if moved else CHATGPT_CODEX_URL,
            wire_api=self.wire_api,
            query_params=self.query_params or {},
            request_max_retries=min(DEFAULT_REQUEST_RETRIES if retries is None else retries, MAX_RETRIES),
            stream_max_retries=min(DEFAULT_STREAM_RETRIES if again is None else again, MAX_RETRIES),
            stream_idle_timeout_ms=self.stream_idle_timeout_ms or DEFAULT_STREAM_IDLE_MS,
            supports_websockets=self.supports_websockets,
        )


BUILT_IN_PROVIDERS: Mapping[str, ModelProvider] = {
    "openai": ModelProvider(name="OpenAI", requires_openai_auth=True),
    "ollama": ModelProvider(name="gpt-oss", base_url="http://localhost:11434/v1"),
    "lmstudio": ModelProvider(name="gpt-oss", base_url="http://localhost:1234/v1"),
}


def providers_of(document: Document) -> dict[str, ModelProvider]:
    """All providers by their id, the built-in ones first.

    :raises InvalidSettingError: a table has a wrong type in it, lacks its name, has a `base_url` that is no http
        address, or takes the id of a built-in provider.
    """
    providers = dict(BUILT_IN_PROVIDERS)
    tables = document.merged().get("model_providers")
    if not isinstance(tables, dict):
        return providers
    for identifier, table in tables.items():
        path = ("model_providers", identifier)
        if identifier in BUILT_IN_PROVIDERS:
            raise refusal(
                document,
                path,
                f"model_providers contains reserved built-in provider IDs: `{identifier}`. Built-in providers "
                f"cannot be overridden: give yours another name (for example, `{identifier}-custom`)",
            )
        provider = convert(table, ModelProvider, document, path)
        if not provider.name.strip():
            raise refusal(document, (*path, "name"), "provider name must not be empty")
        if provider.base_url is not None and not _is_http(provider.base_url):
            raise refusal(document, (*path, "base_url"), "expected an http or https URL")
        providers[identifier] = provider
    return providers


def find_provider(document: Document, identifier: str) -> ModelProvider:
    """:raises ProviderNotFoundError: there is none of that id."""
    provider = providers_of(document).get(identifier)
    if provider is None:
        raise ProviderNotFoundError(identifier)
    return provider


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
