"""The single door through which commands start."""

from __future__ import annotations

from collections.abc import Callable

from sandbox_backends.command import RunningCommand, Sink
from sandbox_backends.plan import ExecPlan
from sandbox_backends.registry import Registry, default_registry

__all__ = ["run_with_plan"]


async def run_with_plan(
    plan: ExecPlan,
    on_output: Sink | None = None,
    spawned: Callable[[int], None] | None = None,
    *,
    on_stderr: Sink | None = None,
    registry: Registry | None = None,
) -> RunningCommand:
    """Start a plan; returns as soon as it runs.

    `on_output` gets every chunk as it comes (with `streams="split"` stderr's go to `on_stderr`, if given); it must not
    block, and must not raise. `spawned` gets the pid before anything else can happen. Raises SandboxUnavailable,
    RootReplacedError and LaunchError; a program that is not there is a result, exit code 127 or 126.
    """
    backend = (registry or default_registry()).get(plan.backend)
    command = RunningCommand(plan, on_output, on_stderr)
    await command.start(backend)
    if spawned is not None and command.pid is not None:
        spawned(command.pid)
    return command
