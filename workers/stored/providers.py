"""`modelProvider/*`: the providers of the configuration, without what is secret in them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from config.errors import ConfigError
from config.providers import DEFAULT_PROVIDER, ModelProvider, find_provider, providers_of
from config.settings import settings_of
from protocol.base import Wire
from protocol.providers import (
    CustomGateway,
    EnvironmentAuth,
    ExternalAuth,
    ModelProviderCapabilitiesReadParams,
    ModelProviderCapabilitiesReadResponse,
    ModelProviderListParams,
    ModelProviderListResponse,
    ModelProviderSummary,
    NoAuth,
    OpenAi,
)
from protocol.rpc import INTERNAL_ERROR, RpcError
from workers.stored.configuration import load
from workers.stored.request import StoredRequest

__all__ = ["list_", "read_capabilities"]

OPENAI = "openai"
EXTERNAL_KEYS = (
    "auth",
    "aws",
    "env_http_headers",
    "experimental_bearer_token",
    "gateway_oauth",
    "http_headers",
    "query_params",
    "requires_openai_auth",
)
"""What says more about a provider's credentials than a client's form can show."""


def list_(request: StoredRequest) -> Wire:
    """Those of the user, and OpenAI's: as with Codex, local ones are shown once they are written down."""
    request.params(ModelProviderListParams)
    try:
        document = load(request)
        providers = providers_of(document)
        chosen = settings_of(document).model_provider or DEFAULT_PROVIDER
    except ConfigError as error:
        raise RpcError(f"failed to read providers: {error}", INTERNAL_ERROR) from error
    written = document.merged().get("model_providers") or {}
    shown = [_summary(name, providers[name], written.get(name)) for name in sorted({*written, OPENAI})]
    return ModelProviderListResponse(data=shown, default_provider_id=chosen)


def read_capabilities(request: StoredRequest) -> Wire:
    """Of the configured provider. Web search is a hosted tool, which only the Responses API has."""
    request.params(ModelProviderCapabilitiesReadParams)
    try:
        document = load(request)
        provider = find_provider(document, settings_of(document).model_provider or DEFAULT_PROVIDER)
    except ConfigError as error:
        raise RpcError(f"failed to resolve feature override precedence: {error}", INTERNAL_ERROR) from error
    return ModelProviderCapabilitiesReadResponse(
        image_generation=False, web_search=provider.wire_api == "responses"
    )


def _summary(identifier: str, provider: ModelProvider, table: dict[str, Any] | None) -> ModelProviderSummary:
    """`table`: what the file says, None for OpenAI's."""
    url = provider.base_url if table is not None else None
    return ModelProviderSummary(
        id=identifier,
        name=provider.name,
        can_edit=table is not None,
        base_url=url if _is_plain(url) else None,
        settings=OpenAi() if table is None else CustomGateway(auth=_auth(provider, table)),
    )


def _auth(provider: ModelProvider, table: dict[str, Any]) -> NoAuth | EnvironmentAuth | ExternalAuth:
    if any(table.get(key) for key in EXTERNAL_KEYS) or not (
        provider.base_url is None or _is_plain(provider.base_url)
    ):
        return ExternalAuth(env_key=provider.env_key)
    return EnvironmentAuth(env_key=provider.env_key) if provider.env_key else NoAuth()


def _is_plain(url: str | None) -> bool:
    """Nothing in it that may be a secret: user, password, query."""
    if url is None:
        return False
    parts = urlsplit(url)
    return not (parts.username or parts.password or parts.query or parts.fragment)
