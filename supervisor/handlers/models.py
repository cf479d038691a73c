"""`model/list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import InvalidCursorError, ProviderNotFoundError
from config.models import list_models
from config.providers import DEFAULT_PROVIDER
from protocol.models import ModelListParams, ModelListResponse
from protocol.rpc import RpcError
from supervisor.connection import Connection

if TYPE_CHECKING:
    from supervisor.front import Front


async def list_(front: Front, connection: Connection, params: ModelListParams) -> ModelListResponse:
    """Of the provider that is asked for, else of the configured one."""
    settings = front.configuration.refresh().settings
    provider = params.model_provider or settings.model_provider or DEFAULT_PROVIDER
    try:
        offered = await front.offered_models.of(provider)
    except ProviderNotFoundError:
        if params.model_provider is None:
            offered = None  # said where it matters: when a thread starts
        else:
            raise RpcError(
                f"model provider `{provider}` is not configured",
                data={"type": "modelProviderNotConfigured", "modelProvider": provider},
            ) from None
    try:
        return list_models(
            params.cursor,
            params.limit,
            include_hidden=bool(params.include_hidden),
            offered=offered,
            preferred=settings.model,
        )
    except InvalidCursorError as error:
        raise RpcError(str(error)) from None
