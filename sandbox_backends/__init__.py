"""Running commands under a sandbox policy: plan, backends, and the one door they start through.

`plan()` turns a request into an `ExecPlan`, `run_with_plan()` runs exactly that, `decide()` says beforehand whether it
may. The names below are the public ones.
"""

from __future__ import annotations

from sandbox_backends.backend import Backend, Capability, Launch
from sandbox_backends.command import RunningCommand
from sandbox_backends.decision import (
    Ask,
    Decision,
    Forbid,
    Rule,
    Run,
    approval_key,
    decide,
    escalation,
    proposed_amendment,
)
from sandbox_backends.denial import Denial
from sandbox_backends.env import ShellEnvironmentPolicy, environment
from sandbox_backends.errors import LaunchError, PlanError, SandboxError, SandboxUnavailable, StdinError
from sandbox_backends.output import Captured, HeadTail, TextStream
from sandbox_backends.plan import Escalation, ExecPlan, Ids, audit
from sandbox_backends.planner import plan
from sandbox_backends.prctl import become_subreaper
from sandbox_backends.registry import Registry, default_registry
from sandbox_backends.result import ExecResult, SetupFailure
from sandbox_backends.runner import run_with_plan
from sandbox_backends.view import Pin, View, pin

__all__ = [
    "Ask",
    "Backend",
    "Capability",
    "Captured",
    "Decision",
    "Denial",
    "Escalation",
    "ExecPlan",
    "ExecResult",
    "Forbid",
    "HeadTail",
    "Ids",
    "Launch",
    "LaunchError",
    "Pin",
    "PlanError",
    "Registry",
    "Rule",
    "Run",
    "RunningCommand",
    "SandboxError",
    "SandboxUnavailable",
    "SetupFailure",
    "ShellEnvironmentPolicy",
    "StdinError",
    "TextStream",
    "View",
    "approval_key",
    "audit",
    "become_subreaper",
    "decide",
    "default_registry",
    "environment",
    "escalation",
    "pin",
    "plan",
    "proposed_amendment",
    "run_with_plan",
]
