"""`bulkhead sandbox [--policy POLICY] [--plan] [--json] -- COMMAND...`: run one command as a thread with that policy would.

Standard input, output and error are passed through, the exit code is the command's. On a terminal the command gets a
terminal of its own. With `--plan` nothing is run; with `--json` the plan or the result is printed as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import sys
from typing import Any

import msgspec

from config.home import home_path
from protocol.policy import DangerFullAccess, ReadOnly, SandboxPolicy, WorkspaceWrite
from sandbox_backends.errors import SandboxError
from sandbox_backends.gaps import GAPS
from sandbox_backends.landlock import Landlock
from sandbox_backends.limits import Limits
from sandbox_backends.output import Captured
from sandbox_backends.own import belongings
from sandbox_backends.plan import DEFAULT_OUTPUT_CAP, ExecPlan, audit
from sandbox_backends.planner import plan
from sandbox_backends.prctl import become_subreaper
from sandbox_backends.registry import default_registry
from sandbox_backends.result import ExecResult
from sandbox_backends.runner import run_with_plan
from sandbox_backends.view import Pin
from supervisor import exit_codes
from supervisor.commands.passthrough import attach, complain, on_terminal, window
from supervisor.runtime import runtime_folder

POLICIES = {
    "readOnly": "readOnly",
    "read-only": "readOnly",
    "workspaceWrite": "workspaceWrite",
    "workspace-write": "workspaceWrite",
    "dangerFullAccess": "dangerFullAccess",
    "danger-full-access": "dangerFullAccess",
}
"""The names of the wire and those of `config.toml`; a policy may also be given as its JSON."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        default="readOnly",
        help="readOnly (default), workspaceWrite, dangerFullAccess, or a sandboxPolicy as JSON",
    )
    parser.add_argument("--network", choices=("0", "1"), default="0", help="whether the network is on")
    parser.add_argument("--cwd", default=os.getcwd(), metavar="DIR", help="the workspace (default: here)")
    parser.add_argument("--writable-root", action="append", default=[], metavar="DIR")
    parser.add_argument("--pin", metavar="DEV:INO", help="identity the workspace must have")
    parser.add_argument("--timeout-ms", type=int)
    parser.add_argument("--max-processes", type=int, metavar="N")
    parser.add_argument("--max-memory", type=int, metavar="BYTES")
    parser.add_argument("--max-file-size", type=int, metavar="BYTES")
    parser.add_argument("--max-cpu", type=int, metavar="SECONDS")
    parser.add_argument(
        "--backend", choices=default_registry().names[1:], help="this backend instead of the best one"
    )
    parser.add_argument("--plan", action="store_true", help="print the plan, run nothing")
    parser.add_argument("--json", action="store_true", help="print the plan, or the result, as JSON")
    parser.add_argument("argv", nargs="+", metavar="COMMAND")


def _policy(options: argparse.Namespace) -> SandboxPolicy:
    network = options.network == "1"
    match POLICIES.get(options.policy):
        case "dangerFullAccess":
            return DangerFullAccess()
        case "readOnly":
            return ReadOnly(network_access=network)
        case "workspaceWrite":
            return WorkspaceWrite(writable_roots=tuple(options.writable_root), network_access=network)
    if not options.policy.startswith("{"):
        raise ValueError(f"{options.policy!r} is none of {', '.join(POLICIES)}, and no JSON")
    return msgspec.json.decode(options.policy, type=SandboxPolicy)  # type: ignore[no-any-return]  # a union


def _pins(options: argparse.Namespace) -> tuple[Pin, ...]:
    if options.pin is None:
        return ()
    dev, _, ino = options.pin.partition(":")
    return (Pin(options.cwd, int(dev), int(ino)),)


def _plan(options: argparse.Namespace, policy: SandboxPolicy) -> ExecPlan:
    terminal = on_terminal() and not options.json
    limits = Limits(
        processes=options.max_processes,
        memory_bytes=options.max_memory,
        file_size_bytes=options.max_file_size,
        cpu_seconds=options.max_cpu,
    )
    stdin: Any = "pty" if terminal else "null" if options.json else "pipe"
    return plan(
        options.argv,
        cwd=os.path.abspath(options.cwd),
        policy=policy,
        env=os.environ,
        pins=_pins(options),
        own=belongings(home_path(os.environ), runtime_folder()),
        timeout_ms=options.timeout_ms,
        output_cap=DEFAULT_OUTPUT_CAP if options.json else 0,
        streams="split",
        stdin=stdin,
        pty_size=window() if terminal else None,
        limits=limits,
        registry=default_registry().only(options.backend) if options.backend else None,
    )


def run(options: argparse.Namespace) -> int:
    try:
        policy = _policy(options)
    except (msgspec.MsgspecError, ValueError) as error:
        complain(f"--policy: {error}")
        return exit_codes.USAGE
    try:
        _pins(options)
    except ValueError as error:
        complain(f"--pin: {error}")
        return exit_codes.USAGE
    become_subreaper()  # before anything is started, a probe included
    try:
        made = _plan(options, policy)
        if options.plan:
            print(audit(made).decode() if options.json else _words(made))
            return exit_codes.OK
        if made.backend == Landlock.name and made.gaps:
            complain(f"weaker than usual ({made.backend_reason}): {', '.join(made.gaps)}")
        if options.json:
            result = asyncio.run(_captured(made))
            print(msgspec.json.encode(_record(made, result)).decode())
            return result.exit_code
        code = attach(made)
    except SandboxError as error:
        complain(str(error))
        return exit_codes.NOT_STARTED
    sys.stdout.flush()
    # The thread that reads stdin may be inside read(2); an orderly exit would wait for its lock.
    os._exit(code)


async def _captured(made: ExecPlan) -> ExecResult:
    command = await run_with_plan(made)
    return await command.wait()


def _record(made: ExecPlan, result: ExecResult) -> dict[str, Any]:
    return {
        "exitCode": result.exit_code,
        "started": result.started,
        "signal": result.signal,
        "timedOut": result.timed_out,
        "stdout": _text(result.output),
        "stderr": _text(result.stderr or Captured()),
        "denial": result.denial,
        "setupFailed": result.setup_failed,
        "restored": result.restored,
        "durationMs": result.duration_ms,
        "backend": made.backend,
        "gaps": made.gaps,
    }


def _text(captured: Captured) -> dict[str, Any]:
    """What was printed: as text where it is UTF-8, else as base64; and how many bytes are left out."""
    try:
        shown = {"text": captured.raw().decode()}
    except UnicodeDecodeError:
        shown = {"base64": base64.b64encode(captured.raw()).decode()}
    return {**shown, "omittedBytes": captured.omitted}


def _words(made: ExecPlan) -> str:
    """The plan for people."""
    lines = [
        f"command   {' '.join(made.argv)}",
        f"program   {made.program or 'not found'}",
        f"directory {made.cwd}",
        f"policy    {msgspec.json.encode(made.policy).decode()}",
        f"backend   {made.backend}: {made.backend_reason}",
    ]
    lines += [f"gap       {gap}: {GAPS[gap]}" for gap in made.gaps]
    for root in made.view.roots:
        lines.append(f"writable  {root.path}")
        lines += [f"protected {item.path} ({item.kind}, {item.via})" for item in root.protected]
    lines += [f"hidden    {mask.path}" for mask in made.view.masked]
    if made.limits.any:
        lines.append(f"limits    {msgspec.json.encode(made.limits).decode()} {made.cgroup or 'rlimits'}")
    lines.append(f"variables {' '.join(sorted(made.env))}")
    return "\n".join(lines)
