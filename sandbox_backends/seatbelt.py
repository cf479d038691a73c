"""`seatbelt`: macOS' sandbox-exec with a profile made from the view.

Paths never stand in the profile's text: they are parameters, so no quoting can widen it. Each profile is generated
for one policy and tested as text and by an evaluator of the rules used; it has not been run on macOS.
"""

from __future__ import annotations

import os
from subprocess import PIPE, STDOUT, TimeoutExpired, run

from protocol.policy import SandboxPolicy
from sandbox_backends.backend import Capability, Launch
from sandbox_backends.direct import shell_code
from sandbox_backends.env import network_allowed
from sandbox_backends.plan import ExecPlan, limited
from sandbox_backends.result import NOT_EXECUTABLE, NOT_FOUND, SETUP_CODE, Outcome, SetupFailure
from sandbox_backends.view import View

__all__ = ["Seatbelt", "profile"]

SANDBOX_EXEC = "/usr/bin/sandbox-exec"
"""Never from PATH: a command may own that."""
PROBE_TIMEOUT_S = 10
EXEC_FAILED = 71
"""EX_OSERR is how sandbox-exec ends when it cannot execute the program."""

BASE = """(version 1)
(deny default)
(allow process-exec)
(allow process-fork)
(allow signal (target same-sandbox))
(allow process-info* (target same-sandbox))
(allow sysctl-read)
(allow ipc-posix-sem)
(allow pseudo-tty)
(allow file-read*)
(allow file-write-data (require-all (path "/dev/null") (vnode-type CHARACTER-DEVICE)))
(allow file-read* file-write* file-ioctl (literal "/dev/ptmx"))
(allow file-read* file-write* file-ioctl (regex #"^/dev/ttys[0-9]+$"))
(allow file-write* (literal "/dev/tty"))
(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))
"""
NETWORK = """(allow network-outbound)
(allow network-inbound)
(allow system-socket)
(allow mach-lookup
  (global-name "com.apple.bsd.dirhelper")
  (global-name "com.apple.SecurityServer")
  (global-name "com.apple.networkd")
  (global-name "com.apple.ocspd")
  (global-name "com.apple.trustd.agent")
  (global-name "com.apple.SystemConfiguration.DNSConfiguration")
  (global-name "com.apple.SystemConfiguration.configd"))
"""
"""Unix sockets are `network-outbound` too: with the network off nothing is connected to at all."""


def profile(policy: SandboxPolicy, view: View) -> tuple[str, dict[str, str]]:
    """(the profile's text, its parameters). The last rule that matches decides."""
    parts = [BASE]
    parameters: dict[str, str] = {}
    tops = {root.path for root in view.roots}
    clauses: list[str] = []
    for number, root in enumerate(view.roots):
        key = f"WRITABLE_ROOT_{number}"
        parameters[key] = root.path
        conditions = [f'(subpath (param "{key}"))']
        for index, item in enumerate(item for item in root.protected if item.path not in tops):
            name = f"{key}_PROTECTED_{index}"
            parameters[name] = item.path
            # `subpath` alone would let the directory itself be made or replaced.
            conditions += [
                f'(require-not (literal (param "{name}")))',
                f'(require-not (subpath (param "{name}")))',
            ]
        clauses.append(conditions[0] if len(conditions) == 1 else f"(require-all {' '.join(conditions)})")
    if clauses:
        parts.append("(allow file-write*\n  " + "\n  ".join(clauses) + ")\n")
    # A root inside another one's protected path is an explicit grant; what another root's rule protects is not.
    for number, root in enumerate(view.roots):
        for index, item in enumerate(item for item in root.protected if item.path not in tops):
            if any(other != root.path and item.path.startswith(other.rstrip("/") + "/") for other in tops):
                name = f"WRITABLE_ROOT_{number}_PROTECTED_{index}"
                parts.append(f'(deny file-write* (literal (param "{name}")) (subpath (param "{name}")))\n')
    for number, mask in enumerate(view.masked):
        parameters[f"MASKED_{number}"] = mask.path
        parts.append(
            f'(deny file-read* file-write* (literal (param "MASKED_{number}"))'
            f' (subpath (param "MASKED_{number}")))\n'
        )
    if network_allowed(policy):
        parts.append(NETWORK)
    return "".join(parts), parameters


class Seatbelt:
    name = "seatbelt"

    def __init__(self, path: str = SANDBOX_EXEC) -> None:
        self._path = path

    def probe(self) -> Capability:
        if not os.access(self._path, os.X_OK):
            return Capability(
                ok=False, reason=f"{self._path} is not there", remedy="use macOS 10.15 or newer"
            )
        argv = (self._path, "-p", "(version 1)(allow default)", "--", "/usr/bin/true")
        try:
            done = run(
                argv, stdout=PIPE, stderr=STDOUT, timeout=PROBE_TIMEOUT_S, check=False, env={}, cwd="/"
            )
        except (OSError, TimeoutExpired) as error:
            return Capability(ok=False, reason=f"{self._path}: {error}", path=self._path)
        if done.returncode:
            said = done.stdout.decode("utf-8", "replace").strip() or str(done.returncode)
            remedy = (
                "a process that is sandboxed itself cannot start another sandbox: start the server outside"
            )
            return Capability(ok=False, reason=f"{self._path}: {said}", remedy=remedy, path=self._path)
        return Capability(ok=True, reason=self._path, path=self._path)

    def gaps(self, policy: SandboxPolicy, view: View) -> tuple[str, ...]:
        return ("descendants-may-outlive-their-command", "foreign-processes-visible")

    def build(self, plan: ExecPlan) -> Launch:
        text, parameters = profile(plan.policy, plan.view)
        return Launch(
            argv=(
                self._path,
                "-p",
                text,
                *(f"-D{name}={value}" for name, value in parameters.items()),
                "--",
                *limited(plan),
                *plan.argv,
            ),
            env=plan.env,
            cwd=plan.cwd,
            # sandbox-exec becomes the command.
            marked=True,
        )

    def outcome(self, plan: ExecPlan, code: int, report: bytes, said: str) -> Outcome:
        exit_code, signal = shell_code(code)
        if "sandbox-exec: " in said:
            last = said.rpartition("sandbox-exec: ")[2].strip()
            if exit_code == EXEC_FAILED and "execvp()" in last:
                missing = os.strerror(2) in last
                return Outcome(started=False, exit_code=NOT_FOUND if missing else NOT_EXECUTABLE)
            if exit_code in (64, 65):  # EX_USAGE, EX_DATAERR: the profile was not taken
                return Outcome(started=False, exit_code=SETUP_CODE, setup_failed=SetupFailure(last))
        return Outcome(started=True, exit_code=exit_code, signal=signal)
