"""No sandbox: the command runs as we do. Chosen only where the policy or an approval says so."""

from __future__ import annotations

from protocol.policy import SandboxPolicy
from sandbox_backends.backend import Capability, Launch
from sandbox_backends.plan import ExecPlan, limited
from sandbox_backends.result import Outcome
from sandbox_backends.terminal import job_control
from sandbox_backends.view import View

__all__ = ["Direct", "shell_code"]

SIGNAL_BASE = 128


def shell_code(code: int) -> tuple[int, int | None]:
    """(exit code as a shell says it, signal) of a Popen return code."""
    return (SIGNAL_BASE - code, -code) if code < 0 else (code, None)


class Direct:
    name = "direct"

    def probe(self) -> Capability:
        return Capability(ok=True, reason="needs nothing")

    def gaps(self, policy: SandboxPolicy, view: View) -> tuple[str, ...]:
        return ()

    def build(self, plan: ExecPlan) -> Launch:
        argv = (*limited(plan), *plan.argv)
        if plan.stdin == "pty":
            # `setsid` makes the session itself, so that it can take the terminal as its own.
            prefix = job_control()
            return Launch(
                argv=(*prefix, *argv), env=plan.env, cwd=plan.cwd, marked=True, new_session=not prefix
            )
        return Launch(argv=argv, env=plan.env, cwd=plan.cwd, marked=True)

    def outcome(self, plan: ExecPlan, code: int, report: bytes, said: str) -> Outcome:
        exit_code, signal = shell_code(code)
        return Outcome(started=True, exit_code=exit_code, signal=signal)
