"""Model providers over the wire: `modelProvider/list` and `modelProvider/capabilities/read`."""

from __future__ import annotations

import msgspec

from protocol.base import Params, Wire

__all__ = [
    "CustomGateway",
    "EnvironmentAuth",
    "ExternalAuth",
    "ModelProviderCapabilitiesReadParams",
    "ModelProviderCapabilitiesReadResponse",
    "ModelProviderListParams",
    "ModelProviderListResponse",
    "ModelProviderSummary",
    "NoAuth",
    "OpenAi",
]


class _Auth(msgspec.Struct, rename="camel", kw_only=True, frozen=True, tag_field="mode"):
    pass


class NoAuth(_Auth, kw_only=True, frozen=True, tag="none"):
    pass


class EnvironmentAuth(_Auth, kw_only=True, frozen=True, tag="environmentVariable"):
    env_key: str


class ExternalAuth(_Auth, kw_only=True, frozen=True, tag="externallyConfigured"):
    """Anything else that the file says about credentials, headers or the query."""

    env_key: str | None = None


class _Settings(msgspec.Struct, rename="camel", kw_only=True, frozen=True, tag_field="type"):
    pass


class OpenAi(_Settings, kw_only=True, frozen=True, tag="openai"):
    pass


class CustomGateway(_Settings, kw_only=True, frozen=True, tag="customGateway"):
    auth: NoAuth | EnvironmentAuth | ExternalAuth


class ModelProviderSummary(Wire, kw_only=True):
    """`base_url` None: there is none, or it has secrets in it."""

    id: str
    name: str
    can_edit: bool
    base_url: str | None
    settings: OpenAi | CustomGateway


class ModelProviderListParams(Params, kw_only=True):
    pass


class ModelProviderListResponse(Wire, kw_only=True):
    data: list[ModelProviderSummary]
    default_provider_id: str
    can_change_default: bool = True


class ModelProviderCapabilitiesReadParams(Params, kw_only=True):
    pass


class ModelProviderCapabilitiesReadResponse(Wire, kw_only=True):
    image_generation: bool
    web_search: bool
