"""`model/list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import InvalidCursorError
from config.models import list_models
from protocol.models import ModelListParams, ModelListResponse
from protocol.rpc import RpcError
from supervisor.connection import Connection

if TYPE_CHECKING:
    from supervisor.front import Front


def list_(front: Front, connection: Connection, params: ModelListParams) -> ModelListResponse:
    try:
        return list_models(params.cursor, params.limit, include_hidden=bool(params.include_hidden))
    except InvalidCursorError as error:
        raise RpcError(str(error)) from None
