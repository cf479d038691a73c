"""An `ExecPlan`: everything there is to know about one run of one command, as plain data.

It is made by the planner, printed in audits, and executed by `run_with_plan` as it stands. A second attempt (after a
denial, with less sandbox) is always a new plan with its own `ids.attempt`, so each start leaves a line of its own.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.policy import SandboxPolicy
from sandbox_backends.limits import Limits, rlimits
from sandbox_backends.view import View

__all__ = ["DEFAULT_OUTPUT_CAP", "Escalation", "ExecPlan", "Ids", "Stdin", "audit", "limited"]

DEFAULT_OUTPUT_CAP = 1 << 20
"""Bytes of output kept per stream, as the peer keeps."""

Stdin = Literal["null", "pipe", "pty"]


class Ids(msgspec.Struct, frozen=True, kw_only=True):
    """Whose command this is."""

    thread: str = ""
    turn: str = ""
    item: str = ""
    attempt: int = 1


class Escalation(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller does when the sandbox denied something: tell the model, ask the user, or run again at once."""

    on_denial: Literal["report", "ask", "retry"] = "report"
    next_backend: str = "direct"
    approval_key: str = ""
    reason: str = ""


class ExecPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One command, ready to run.

    `env` is complete: nothing is inherited. (`direct` adds one variable at the start, the mark by which stray children
    are found.) `program` is what argv[0] resolved to when planned, for audits. `output_keep="ends"` keeps the first and
    last half of `output_cap` bytes, `"head"` the first bytes only. `streams="merged"` keeps stdout and stderr in the
    order they were written; a pty is always merged.
    """

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    policy: SandboxPolicy
    view: View
    backend: str
    backend_reason: str
    program: str | None = None
    gaps: tuple[str, ...] = ()
    timeout_ms: int | None = None
    output_cap: int | None = DEFAULT_OUTPUT_CAP
    output_keep: Literal["ends", "head"] = "ends"
    streams: Literal["merged", "split"] = "merged"
    stdin: Stdin = "null"
    pty_size: tuple[int, int] | None = None
    limits: Limits = Limits()
    cgroup: str | None = None
    """The delegated cgroup below which the command gets its own; None: its limits are rlimits."""
    escalation: Escalation = Escalation()
    ids: Ids = Ids()


def audit(plan: ExecPlan) -> bytes:
    """The plan as one JSON line, with the names of the environment's variables but not their values."""
    return msgspec.json.encode(msgspec.structs.replace(plan, env=dict.fromkeys(sorted(plan.env), "…")))


def limited(plan: ExecPlan) -> tuple[str, ...]:
    """What goes in front of the plan's command so that it starts with its limits; empty without."""
    return rlimits(plan.limits, grouped=plan.cgroup is not None, backend=plan.backend)
