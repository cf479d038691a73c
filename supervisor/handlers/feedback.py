"""`feedback/upload` and `feedback/save`: the catalog's, with what only the front has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocol.feedback import (
    FeedbackSaveParams,
    FeedbackSaveResponse,
    FeedbackUploadParams,
    FeedbackUploadResponse,
)
from supervisor import logs
from supervisor.connection import Connection

if TYPE_CHECKING:
    from supervisor.front import Front


async def upload(
    front: Front, connection: Connection, params: FeedbackUploadParams
) -> FeedbackUploadResponse:
    raw = await front.catalog.call("feedback/upload", params, {"log": logs.recent()})
    return msgspec.json.decode(raw, type=FeedbackUploadResponse)


async def save(front: Front, connection: Connection, params: FeedbackSaveParams) -> FeedbackSaveResponse:
    raw = await front.catalog.call("feedback/save", params, {"log": logs.recent()})
    return msgspec.json.decode(raw, type=FeedbackSaveResponse)
