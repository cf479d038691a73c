"""One hook's program: it gets JSON on stdin, and its exit code, stdout and stderr are its answer.

It starts through the one door through which commands start, without a sandbox: the user has trusted it. So it is marked,
written down and ended like a command, with all that it has started.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec

from config.hooks import Hook
from protocol.policy import DangerFullAccess
from sandbox_backends import identity
from sandbox_backends.env import ShellEnvironmentPolicy, environment
from sandbox_backends.errors import SandboxError, StdinError
from sandbox_backends.plan import Ids
from sandbox_backends.planner import plan
from sandbox_backends.runner import run_with_plan

if TYPE_CHECKING:
    from workers.session import Session

__all__ = ["Ran", "run_hook"]

SHELL = "/bin/bash"
OUTPUT_CAP = 1 << 20
"""Bytes of stdout, and as many of stderr: more is no answer."""


class Ran(msgspec.Struct, frozen=True):
    """`exit_code` is None if a signal ended it; `fault` says why there is no answer at all."""

    exit_code: int | None
    stdout: str = ""
    stderr: str = ""
    fault: str = ""


async def run_hook(session: Session, hook: Hook, said: bytes, turn_id: str | None) -> Ran:
    """Run it to its end, or to its time-out. Cancelling this ends it and all it has started."""
    assert isinstance(hook.runs, str)
    settings = session.settings
    policy = ShellEnvironmentPolicy(**msgspec.structs.asdict(settings.shell_environment))
    secrets: dict[str, str | None] = dict.fromkeys(settings.secret_variables)
    spawned: list[int] = []

    def started(pid: int) -> None:
        spawned.append(pid)
        identity.record(session.processes, pid)

    try:
        command = await run_with_plan(
            plan(
                [SHELL, "-c", hook.runs],
                cwd=settings.cwd,
                policy=DangerFullAccess(),
                env=environment(policy, os.environ, overrides=secrets, thread_id=session.id),
                output_cap=OUTPUT_CAP,
                streams="split",
                stdin="pipe",
                ids=Ids(thread=session.id, turn=turn_id or "", item=hook.key),
            ),
            spawned=started,
        )
    except (SandboxError, OSError) as error:
        return Ran(None, fault=str(error))
    try:
        try:
            command.write(said)
            command.close_stdin()
        except StdinError:
            pass  # it has not read what it was told, which is its own affair
        if not await command.wait_for(hook.timeout_s):
            await asyncio.shield(asyncio.ensure_future(command.end()))
            return Ran(None, fault=f"hook timed out after {hook.timeout_s}s")
        result = await command.wait()
        if result.survivors:
            session.hooks.left_running(command)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.ensure_future(command.end(0)))
        raise
    finally:
        for pid in spawned:
            identity.forget(session.processes, pid)
    stderr = result.stderr.text() if result.stderr is not None else ""
    code = None if result.signal is not None else result.exit_code
    return Ran(code, result.output.text(), stderr)
