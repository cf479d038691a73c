"""What a server has to offer, in lists: features, permission profiles, modes, hooks, apps."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import Params, Wire
from protocol.hooks import HookMetadata
from protocol.models import Limit

__all__ = [
    "AppsListParams",
    "AppsListResponse",
    "CollaborationModeListParams",
    "CollaborationModeListResponse",
    "CollaborationModeMask",
    "ExperimentalFeature",
    "ExperimentalFeatureListParams",
    "ExperimentalFeatureListResponse",
    "FeatureStage",
    "HookErrorInfo",
    "HooksListEntry",
    "HooksListParams",
    "HooksListResponse",
    "PageParams",
    "PermissionProfileListParams",
    "PermissionProfileListResponse",
    "PermissionProfileSummary",
]


FeatureStage = Literal["beta", "underDevelopment", "stable", "deprecated", "removed"]


class PageParams(Params, kw_only=True):
    """`cursor` is the `next_cursor` of the page before; `limit` 0 means 1, an absent one all."""

    cursor: str | None = None
    limit: Limit | None = None


# --- features ---------------------------------------------------------------------------------------------------


class ExperimentalFeatureListParams(PageParams, kw_only=True):
    thread_id: str | None = None


class ExperimentalFeature(Wire, kw_only=True):
    """`name` is the key in `[features]`."""

    name: str
    stage: FeatureStage
    display_name: str | None = None
    description: str | None = None
    announcement: str | None = None
    enabled: bool
    default_enabled: bool


class ExperimentalFeatureListResponse(Wire, kw_only=True):
    data: list[ExperimentalFeature]
    next_cursor: str | None = None


# --- permission profiles and modes --------------------------------------------------------------------------------


class PermissionProfileListParams(PageParams, kw_only=True):
    cwd: str | None = None


class PermissionProfileSummary(Wire, kw_only=True):
    id: str
    description: str | None = None
    allowed: bool = True


class PermissionProfileListResponse(Wire, kw_only=True):
    data: list[PermissionProfileSummary]
    next_cursor: str | None = None


class CollaborationModeListParams(Params, kw_only=True):
    pass


class CollaborationModeMask(msgspec.Struct, kw_only=True):
    """What choosing the mode sets; None leaves it as it is. The names of its members are not camelCase."""

    name: str
    mode: Literal["plan", "default"]
    model: str | None = None
    reasoning_effort: str | None = None


class CollaborationModeListResponse(Wire, kw_only=True):
    data: list[CollaborationModeMask]


# --- hooks and apps -----------------------------------------------------------------------------------------------


class HooksListParams(Params, kw_only=True):
    """`cwds`: none means the server's own."""

    cwds: list[str] = []
    thread_id: str | None = None


class HookErrorInfo(Wire, kw_only=True):
    path: str
    message: str


class HooksListEntry(Wire, kw_only=True):
    cwd: str
    hooks: list[HookMetadata]
    warnings: list[str]
    errors: list[HookErrorInfo]


class HooksListResponse(Wire, kw_only=True):
    data: list[HooksListEntry]


class AppsListParams(PageParams, kw_only=True):
    force_refetch: bool = False
    thread_id: str | None = None


class AppsListResponse(Wire, kw_only=True):
    """Always empty: there are no apps here."""

    data: list[dict[str, Any]]
    next_cursor: str | None = None
