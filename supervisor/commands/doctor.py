"""`bulkhead doctor [--json]`: what works on this machine, what does not, why, and the fix.

{"ok": true, "checks": [{"name": "linux-bwrap", "ok": true, "needed": false, "detail": "...", "remedy": ""}]}
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator

import msgspec

from config.document import load_document
from config.errors import ConfigError, HomeError
from config.home import find_home, home_path
from config.settings import settings_of
from protocol.policy import ReadOnly, SandboxPolicy, WorkspaceWrite
from sandbox_backends.errors import SandboxError
from sandbox_backends.limits import PRLIMIT, delegated
from sandbox_backends.own import belongings
from sandbox_backends.planner import plan
from sandbox_backends.prctl import become_subreaper
from sandbox_backends.registry import Registry, default_registry
from sandbox_backends.rules import load_rules
from sandbox_backends.terminal import SETSID, job_control
from supervisor import exit_codes
from supervisor.runtime import UnsafeRuntimeDirectory, check_folder, runtime_folder
from supervisor.version import VERSION

POLICIES: tuple[tuple[str, SandboxPolicy], ...] = (
    ("readOnly", ReadOnly()),
    ("workspaceWrite", WorkspaceWrite()),
)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One probe. Where `needed`, the machine is not ready without it; `remedy` is what to do."""

    name: str
    ok: bool
    detail: str
    needed: bool = False
    remedy: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    become_subreaper()  # the probes' orphans are ours to reap
    checks = list(_checks(default_registry()))
    ok = all(check.ok for check in checks if check.needed)
    if options.json:
        print(msgspec.json.encode({"ok": ok, "version": VERSION, "checks": checks}).decode())
    else:
        _print(checks)
    return exit_codes.OK if ok else exit_codes.FAILED


def _checks(registry: Registry) -> Iterator[Check]:
    yield Check(name="system", ok=True, detail=f"{platform.platform()}, Python {platform.python_version()}")
    yield _pidfd()
    yield from _backends(registry)
    yield from _policies(registry)
    yield _terminal()
    yield from _limits()
    yield _runtime()
    yield from _home()


def _pidfd() -> Check:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError) as error:
        remedy = "use Linux 5.3 or newer; in a container allow pidfd_open in its seccomp profile"
        return Check(name="pidfd", ok=False, needed=True, detail=f"pidfd_open: {error}", remedy=remedy)
    return Check(name="pidfd", ok=True, needed=True, detail="processes are followed without polling")


def _backends(registry: Registry) -> Iterator[Check]:
    for name in registry.names[1:]:
        found = registry.capability(name)
        words = [found.reason, found.version, *(f"+{feature}" for feature in found.features)]
        yield Check(name=name, ok=found.ok, detail=" ".join(filter(None, words)), remedy=found.remedy)


def _policies(registry: Registry) -> Iterator[Check]:
    """Which backend a command would get in a workspace of its own."""
    own = belongings(home_path(os.environ), runtime_folder())
    for name, policy in POLICIES:
        try:
            with tempfile.TemporaryDirectory(prefix="bulkhead-doctor-") as folder:
                made = plan(("true",), cwd=folder, policy=policy, env=os.environ, own=own, registry=registry)
        except SandboxError as error:
            yield Check(
                name=name,
                ok=False,
                needed=True,
                detail=str(error),
                remedy=getattr(error, "remedy", ""),
            )
            continue
        gaps = f"; not enforced: {', '.join(made.gaps)}" if made.gaps else ""
        yield Check(name=name, ok=True, needed=True, detail=f"{made.backend}{gaps}")


def _terminal() -> Check:
    if sys.platform != "linux" or job_control():
        return Check(name="job-control", ok=True, detail="commands on a terminal have job control")
    return Check(
        name="job-control",
        ok=False,
        detail=f"no setsid of util-linux ({', '.join(SETSID)})",
        remedy="install util-linux",
    )


def _limits() -> Iterator[Check]:
    prlimit = next((path for path in PRLIMIT if os.access(path, os.X_OK)), None)
    yield Check(
        name="rlimits",
        ok=prlimit is not None,
        detail=prlimit or "no prlimit program",
        remedy="" if prlimit else "install util-linux",
    )
    folder, why = delegated()
    remedy = "" if folder else "delegate a cgroup v2 to the server (systemd: Delegate=yes, DelegateSubgroup=)"
    yield Check(name="cgroup", ok=folder is not None, detail=folder or why, remedy=remedy)


def _runtime() -> Check:
    try:
        return Check(name="runtime", ok=True, needed=True, detail=check_folder())
    except (OSError, UnsafeRuntimeDirectory) as error:
        what, _, remedy = str(error).partition("; ")
        return Check(name="runtime", ok=False, needed=True, detail=what, remedy=remedy)


def _home() -> Iterator[Check]:
    try:
        home = find_home(os.environ)
        settings_of(load_document(home))
    except ConfigError as error:
        remedy = "correct the file"
        if isinstance(error, HomeError):
            remedy = "make the folder, or set BULKHEAD_HOME to one that is there"
        yield Check(name="configuration", ok=False, needed=True, detail=str(error), remedy=remedy)
        return
    yield Check(name="configuration", ok=True, needed=True, detail=home)
    rules, problems = load_rules(home)
    yield Check(name="rules", ok=not problems, detail=f"{len(rules)} prefix rules")
    for problem in problems:
        yield Check(name="rules", ok=False, needed=True, detail=str(problem), remedy="correct the file")


def _print(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        state = "ok  " if check.ok else "FAIL" if check.needed else "no  "
        print(f"{state}  {check.name:{width}}  {check.detail}")
        if check.remedy:
            print(f"      {'':{width}}  fix: {check.remedy}")
