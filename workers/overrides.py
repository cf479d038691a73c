"""Settings that a client changes while the thread is loaded: with a turn or without, they hold for what comes after."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from config.models import find_model
from protocol.base import Absent
from protocol.control import ThreadSettings, ThreadSettingsUpdatedNotification
from protocol.policy import SandboxMode, policy_of_mode
from protocol.rpc import RpcError
from protocol.threads import Environment, PermissionProfile
from protocol.turns import TurnOverrides
from workers.session import Session

__all__ = ["override", "tell_settings", "thread_settings"]

PROFILES: dict[str, SandboxMode] = {
    ":read-only": "read-only",
    ":workspace": "workspace-write",
    ":danger-full-access": "danger-full-access",
}
TIERS = {None: "default", "fast": "priority"}
"""Other words for a service tier; null asks for the provider's default."""


def override(session: Session, params: TurnOverrides) -> bool:
    """Take over what `params` says of settings; whether anything is different now.

    Raises:
        RpcError: two of them contradict each other, or one names what is not there. Nothing is changed then.
    """
    before = thread_settings(session)
    settings = session.settings
    changes: dict[str, Any] = {}
    if params.cwd is not None:
        changes["cwd"] = os.path.normpath(os.path.join(settings.cwd, params.cwd))
    if params.model is not None:
        changes["model"] = params.model
    given = {
        "reasoning_effort": params.effort,
        "reasoning_summary": params.summary,
        "personality": params.personality,
        "approval_policy": params.approval_policy,
        "approvals_reviewer": params.approvals_reviewer,
    }
    changes |= {name: value for name, value in given.items() if value is not None}
    if not isinstance(params.service_tier, Absent):
        changes["service_tier"] = TIERS.get(params.service_tier, params.service_tier)
    changes |= _sandbox(params)
    mode = params.collaboration_mode
    if mode is not None:
        session.plan_mode = mode.mode == "plan"
        session.mode_instructions = mode.settings.developer_instructions
        changes["model"] = mode.settings.model
        changes["reasoning_effort"] = mode.settings.reasoning_effort
    if params.disabled_plugin_ids is not None:
        session.disabled_plugins = params.disabled_plugin_ids
    if changes.get("model", settings.model) != settings.model:
        changes["model_info"] = find_model(changes["model"])
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
    mode = PROFILES.get(params.permissions)
    if mode is None:
        raise RpcError(f"permission profile `{params.permissions}` not found")
    return {"sandbox": policy_of_mode(mode), "permission_profile": PermissionProfile(id=params.permissions)}


def thread_settings(session: Session) -> ThreadSettings:
    settings = session.settings
    cwd = settings.cwd
    mode = session.collaboration_mode
    mode.settings.developer_instructions = session.mode_text or None
    return ThreadSettings(
        disabled_plugin_ids=session.disabled_plugins,
        cwd=cwd,
        environments=[Environment(environment_id="local", cwd=cwd, runtime_workspace_roots=[cwd])],
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
