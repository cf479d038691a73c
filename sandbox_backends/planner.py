"""From what is asked for to an `ExecPlan`. Looks at the file system (stat only), starts nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from protocol.policy import SandboxPolicy
from sandbox_backends import view
from sandbox_backends.env import marked
from sandbox_backends.errors import CwdMissingError, EmptyCommandError, PlanError
from sandbox_backends.gaps import NO_JOB_CONTROL
from sandbox_backends.limits import Limits, delegated, rlimits
from sandbox_backends.limits import gaps as loosened
from sandbox_backends.own import Own
from sandbox_backends.plan import DEFAULT_OUTPUT_CAP, Escalation, ExecPlan, Ids, Stdin
from sandbox_backends.registry import Registry, default_registry
from sandbox_backends.terminal import job_control

__all__ = ["find_program", "plan"]

WINDOW_MAX = 0xFFFF
"""Rows and columns are 16 bit in `struct winsize`."""


def find_program(name: str, cwd: str, env: Mapping[str, str]) -> str | None:
    """The file execvp(3) would run, executable or not; None if there is none."""
    if "/" in name:
        path = os.path.join(cwd, name)
        return path if os.path.lexists(path) else None
    second_best = None
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(cwd, folder, name)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            second_best = second_best or path
    return second_best


def plan(
    argv: Sequence[str],
    *,
    cwd: str,
    policy: SandboxPolicy,
    env: Mapping[str, str],
    workspace: str | None = None,
    pins: Iterable[view.Pin] = (),
    own: Own | None = None,
    sandboxed: bool = True,
    timeout_ms: int | None = None,
    output_cap: int | None = DEFAULT_OUTPUT_CAP,
    output_keep: Literal["ends", "head"] = "ends",
    streams: Literal["merged", "split"] = "merged",
    stdin: Stdin = "null",
    pty_size: tuple[int, int] | None = None,
    limits: Limits | None = None,
    escalation: Escalation | None = None,
    ids: Ids | None = None,
    registry: Registry | None = None,
) -> ExecPlan:
    """Plan one run of `argv` in `cwd` with exactly `env`.

    `workspace` is the directory `policy` belongs to (default: `cwd`): a command may run elsewhere, but makes nothing
    writable by that. `pins` are the identities taken when the policy was made. `own` is
    what belongs to the server. `sandboxed=False` is for what a user approved to run without; `limits` hold there too. Raises PlanError and
    SandboxUnavailable.
    """
    if not argv or not argv[0]:
        raise EmptyCommandError("command must not be empty")
    if any("\0" in word for word in (*argv, cwd, *env, *env.values())):
        raise EmptyCommandError("command, directory and environment must not contain NUL")
    if any(not name or "=" in name for name in env):
        raise PlanError("names of environment variables must not be empty or contain '='")
    if not os.path.isabs(cwd):
        raise PlanError(f"working directory must be absolute: {cwd}")
    if not os.path.isdir(cwd):
        raise CwdMissingError(cwd)
    if timeout_ms is not None and timeout_ms < 0:
        raise PlanError("a timeout must not be negative")
    if pty_size is not None and not all(0 < size <= WINDOW_MAX for size in pty_size):
        raise PlanError(f"a terminal has 1 to {WINDOW_MAX} rows and columns")
    registry = registry or default_registry()
    seen = view.View()
    if sandboxed:
        own = own or Own()
        own = msgspec.structs.replace(own, kept=(*own.kept, *registry.programs(policy)))
        seen = view.resolve(policy, workspace or cwd, env, pins=pins, own=own)
    backend, why, gaps = registry.choose(policy, seen, sandboxed=sandboxed)
    if stdin == "pty" and not job_control():
        gaps = (*gaps, NO_JOB_CONTROL)
    limits = limits or Limits()
    grouped = limits.processes is not None or limits.memory_bytes is not None
    cgroup = delegated()[0] if grouped else None
    if limits.any:
        rlimits(limits, grouped=cgroup is not None, backend=backend.name)
        gaps = (*gaps, *loosened(limits, grouped=cgroup is not None))
    return ExecPlan(
        argv=tuple(argv),
        program=find_program(argv[0], cwd, env),
        cwd=cwd,
        env=marked(env, policy, backend.name, sandboxed=sandboxed),
        policy=policy,
        view=seen,
        backend=backend.name,
        backend_reason=why,
        gaps=gaps,
        timeout_ms=timeout_ms,
        output_cap=output_cap,
        output_keep=output_keep,
        streams="merged" if stdin == "pty" else streams,
        stdin=stdin,
        pty_size=pty_size,
        limits=limits,
        cgroup=cgroup,
        escalation=escalation or Escalation(),
        ids=ids or Ids(),
    )
