"""Settings that a client changes while the thread is loaded: with a turn or without, they hold for what comes after."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from config.errors import PermissionsNotFoundError
from config.resolve import reviewer_of, tier_of
from protocol.base import Absent
from protocol.control import ThreadSettings, ThreadSettingsUpdatedNotification
from protocol.policy import PROFILE_MODES, policy_of_mode
from protocol.rpc import RpcError
from protocol.threads import PermissionProfile
from protocol.turns import TurnOverrides
from workers.session import Session
from workers.thread_view import environment_of, mode_of

__all__ = ["override", "tell_settings", "thread_settings"]

NO_TIER = "default"
"""The service tier that a null asks for: the provider's own choice."""


def override(session: Session, params: TurnOverrides) -> bool:
    """Take over what `params` says of settings; whether anything is different now.

    Raises:
        RpcError: two of them contradict each other, or one names what is not there. Nothing is changed then.
    """
    before = thread_settings(session)
    settings = session.settings
    changes: dict[str, Any] = {}
    if params.cwd is not None:
        changes["cwd"] = os.path.abspath(params.cwd)  # from the server's folder, as at a start
    given = {
        "reasoning_effort": params.effort,
        "reasoning_summary": params.summary,
        "personality": params.personality,
        "approval_policy": params.approval_policy,
        "approvals_reviewer": params.approvals_reviewer and reviewer_of(params.approvals_reviewer),
    }
    changes |= {name: value for name, value in given.items() if value is not None}
    if not isinstance(params.service_tier, Absent):
        changes["service_tier"] = tier_of(params.service_tier) or NO_TIER
    changes |= _sandbox(params)
    mode, model = params.collaboration_mode, params.model
    if mode is not None:
        session.plan_mode = mode.mode == "plan"
        session.mode_instructions = mode.settings.developer_instructions
        model = mode.settings.model
        changes["reasoning_effort"] = mode.settings.reasoning_effort
    if params.disabled_plugin_ids is not None:
        session.disabled_plugins = params.disabled_plugin_ids
    if model is not None and model != settings.model:
        settings = settings.with_model(model)
    session.settings = msgspec.structs.replace(settings, **changes)
    if thread_settings(session) == before:
        return False
    session.tell_facts()
    return True


def _sandbox(params: TurnOverrides) -> dict[str, Any]:
    if params.permissions is None:
        if params.sandbox_policy is None:
            return {}
        return {"sandbox": params.sandbox_policy, "permission_profile": None}
    if params.sandbox_policy is not None:
        raise RpcError("`permissions` cannot be combined with `sandboxPolicy`")
    mode = PROFILE_MODES.get(params.permissions)
    if mode is None:
        raise RpcError(f"failed to load configuration: {PermissionsNotFoundError(params.permissions)}")
    return {"sandbox": policy_of_mode(mode), "permission_profile": PermissionProfile(id=params.permissions)}


def thread_settings(session: Session) -> ThreadSettings:
    settings = session.settings
    mode = mode_of(session)
    mode.settings.developer_instructions = session.briefing.mode_text or None
    return ThreadSettings(
        disabled_plugin_ids=session.disabled_plugins,
        cwd=settings.cwd,
        environments=[environment_of(session)],
        approval_policy=settings.approval_policy,
        approvals_reviewer=settings.approvals_reviewer,
        sandbox_policy=settings.sandbox,
        active_permission_profile=settings.permission_profile,
        model=settings.model,
        model_provider=settings.provider.id,
        service_tier=settings.service_tier,
        effort=settings.reasoning_effort,
        summary=settings.reasoning_summary,
        collaboration_mode=mode,
        personality=settings.personality,
    )


def tell_settings(session: Session) -> None:
    notice = ThreadSettingsUpdatedNotification(thread_id=session.id, thread_settings=thread_settings(session))
    session.notify("thread/settings/updated", notice)
