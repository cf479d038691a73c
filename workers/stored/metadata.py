"""What clients keep with a thread."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.base import UNSET, Wire
from protocol.rpc import RpcError
from protocol.threads import (
    ThreadMetadataGitInfoUpdateParams,
    ThreadMetadataUpdateParams,
    ThreadMetadataUpdateResponse,
    ThreadStatus,
)
from workers.stored.request import StoredRequest

__all__ = ["update"]


def update(request: StoredRequest) -> Wire:
    params = request.params(ThreadMetadataUpdateParams)
    change: dict[str, Any] = {}
    if params.git_info is not None:
        change |= _git_change(params.git_info)
    if params.daybreak_enabled is not None:
        change["daybreak_enabled"] = params.daybreak_enabled
    if params.project_id:
        raise RpcError(f"project not found: {params.project_id}")
    if not change and params.project_id is None:
        raise RpcError("thread metadata update must include at least one field")
    thread = request.threads.annotate(params.thread_id, change, request.context(dict[str, ThreadStatus]))
    return ThreadMetadataUpdateResponse(thread=thread)


def _git_change(update: ThreadMetadataGitInfoUpdateParams) -> dict[str, Any]:
    change: dict[str, Any] = {}
    for field in msgspec.structs.fields(update):
        value = getattr(update, field.name)
        if value is UNSET:
            continue
        if value is not None and not value.strip():
            raise RpcError(f"gitInfo.{field.encode_name} must not be empty")
        change[field.name] = value
    if not change:
        raise RpcError("gitInfo must include at least one field")
    return change
