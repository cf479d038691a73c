"""Lists of what the server has to offer, and of what it has not: features, profiles, modes, hooks, apps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from config.document import Document
from config.errors import ConfigError, InvalidCursorError
from config.features import features
from config.hooks import hooks_of
from config.pages import page
from config.settings import settings_of
from protocol.base import Wire
from protocol.inventory import (
    AppsListParams,
    AppsListResponse,
    CollaborationModeListParams,
    CollaborationModeListResponse,
    CollaborationModeMask,
    ExperimentalFeatureListParams,
    ExperimentalFeatureListResponse,
    HookErrorInfo,
    HooksListEntry,
    HooksListParams,
    HooksListResponse,
    PermissionProfileListParams,
    PermissionProfileListResponse,
    PermissionProfileSummary,
)
from protocol.policy import PROFILE_MODES
from protocol.rpc import INTERNAL_ERROR, RpcError
from workers.stored.configuration import load
from workers.stored.request import StoredRequest

__all__ = [
    "list_apps",
    "list_collaboration_modes",
    "list_features",
    "list_hooks",
    "list_permission_profiles",
]

T = TypeVar("T")

COLLABORATION_MODES = (
    CollaborationModeMask(name="Plan", mode="plan", reasoning_effort="medium"),
    CollaborationModeMask(name="Default", mode="default"),
)


def list_features(request: StoredRequest) -> Wire:
    params = request.params(ExperimentalFeatureListParams)
    settings = settings_of(_reloaded(request, request.cwd_of(params.thread_id)))
    shown, after = _page(features(settings), params.cursor, params.limit, "feature flags")
    return ExperimentalFeatureListResponse(data=shown, next_cursor=after)


def list_permission_profiles(request: StoredRequest) -> Wire:
    params = request.params(PermissionProfileListParams)
    profiles = [PermissionProfileSummary(id=name) for name in PROFILE_MODES]
    shown, after = _page(profiles, params.cursor, params.limit, "permission profiles")
    return PermissionProfileListResponse(data=shown, next_cursor=after)


def list_collaboration_modes(request: StoredRequest) -> Wire:
    request.params(CollaborationModeListParams)
    return CollaborationModeListResponse(data=list(COLLABORATION_MODES))


def list_hooks(request: StoredRequest) -> Wire:
    """All hooks of the folders, those that are not trusted too."""
    params = request.params(HooksListParams)
    thread_cwd = request.cwd_of(params.thread_id)
    cwds = [thread_cwd] if thread_cwd is not None else params.cwds or [os.getcwd()]
    return HooksListResponse(data=[_hooks(request, cwd) for cwd in cwds])


def list_apps(request: StoredRequest) -> Wire:
    params = request.params(AppsListParams)
    _reloaded(request, request.cwd_of(params.thread_id))
    return AppsListResponse(data=[])


def _hooks(request: StoredRequest, cwd: str) -> HooksListEntry:
    try:
        hooks = hooks_of(load(request, cwd), request.home)
    except ConfigError as error:
        failure = HookErrorInfo(path=cwd, message=str(error))
        return HooksListEntry(cwd=cwd, hooks=[], warnings=[], errors=[failure])
    shown = [hook.shown() for hook in hooks.found]
    return HooksListEntry(cwd=cwd, hooks=shown, warnings=list(hooks.warnings), errors=[])


def _reloaded(request: StoredRequest, cwd: str | None) -> Document:
    try:
        document = load(request, cwd)
        settings_of(document)
    except ConfigError as error:
        raise RpcError(f"failed to reload config: {error}", INTERNAL_ERROR) from error
    return document


def _page(
    entries: Sequence[T], cursor: str | None, limit: int | None, subject: str
) -> tuple[list[T], str | None]:
    try:
        return page(entries, cursor, limit, subject)
    except InvalidCursorError as error:
        raise RpcError(str(error)) from error
