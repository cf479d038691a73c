"""`linux-landlock`: the fallback where no namespaces are to be had. Weaker than `linux-bwrap`, and it says so.

Landlock allows or refuses whole trees by what is opened, made, renamed and removed; it hides nothing, has no say in
metadata, and cannot take a protected path out of a writable root. The filter takes over what it can; what remains
are the gaps. What the command started is ended with it.
"""

from __future__ import annotations

import os
import platform
import stat
from collections.abc import Iterator, Sequence
from subprocess import DEVNULL, Popen

from protocol.policy import SandboxPolicy
from sandbox_backends import seccomp
from sandbox_backends.backend import Capability, Launch
from sandbox_backends.confinement import (
    SCOPES_ABI,
    CallError,
    Confinement,
    allow_beneath,
    landlock_abi,
    new_ruleset,
    run_confined,
)
from sandbox_backends.direct import shell_code
from sandbox_backends.env import network_allowed
from sandbox_backends.errors import LaunchError
from sandbox_backends.gaps import METADATA, PROCESSES, RESTORED, SERVER_FILES, STRAYS
from sandbox_backends.guard import Guard
from sandbox_backends.plan import ExecPlan, limited
from sandbox_backends.protection import SERVER, inside
from sandbox_backends.result import Outcome
from sandbox_backends.terminal import job_control
from sandbox_backends.view import View

__all__ = ["Landlock", "remedy_for"]

TRUE_PATHS = ("/bin/true", "/usr/bin/true")

# linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_ALL_FS = (1 << 16) - 1
_ALL_NET = 0b11
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_READ_ONE = _EXECUTE | _READ_FILE
# A device node would be a way around every rule; terminals and disks answer to ioctl(2).
_WRITE = _ALL_FS & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV)
_DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
DEV = "/dev"
"""Nothing else in it may even be read: the other terminals of the same user are there, and for root the disks."""

_REMEDIES = (
    (("landlock_create_ruleset", 38), "this kernel has no Landlock: use Linux 6.12 or newer"),
    (("landlock_create_ruleset", 95), "Landlock is switched off: add `landlock` to the lsm= boot parameter"),
    (("landlock_create_ruleset", 1), "a seccomp filter around this process refuses Landlock: allow it there"),
    (("landlock_restrict_self", 7), "too many nested Landlock sandboxes: start the server in fewer of them"),
    (("prctl(PR_SET_SECCOMP)", 22), "this kernel lacks CONFIG_SECCOMP_FILTER"),
)
"""(call, errno) -> what to do."""


def remedy_for(error: CallError) -> str:
    """What to do about a refused call; empty if unknown."""
    return next((remedy for known, remedy in _REMEDIES if known == (error.call, error.errno)), "")


class Landlock:
    name = "linux-landlock"

    def probe(self) -> Capability:
        if platform.machine() not in seccomp.ARCHES:
            return Capability(ok=False, reason=f"no seccomp filter for {platform.machine()}")
        try:
            abi = landlock_abi()
        except CallError as error:
            return Capability(ok=False, reason=str(error.strerror), remedy=remedy_for(error))
        if abi < SCOPES_ABI:
            return Capability(
                ok=False,
                reason=f"Landlock ABI {abi} keeps no signals inside, {SCOPES_ABI} would",
                remedy="use Linux 6.12 or newer, or install bubblewrap",
                version=str(abi),
            )
        true = next((name for name in TRUE_PATHS if os.access(name, os.X_OK)), "/bin/sh")
        confinement = None
        try:
            confinement = Confinement(_ruleset(View(), network=False), _program(network=False))
            process = run_confined(
                confinement,
                lambda: Popen((true,), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, cwd="/", env={}),
            )
            code = process.wait()
        except CallError as error:
            return Capability(
                ok=False, reason=str(error.strerror), remedy=remedy_for(error), version=str(abi)
            )
        except OSError as error:
            return Capability(ok=False, reason=f"{true}: {error.strerror}", version=str(abi))
        finally:
            if confinement is not None:
                confinement.close()
        if code:
            return Capability(ok=False, reason=f"{true} ended with {code} inside", version=str(abi))
        return Capability(ok=True, reason=f"Landlock ABI {abi} and seccomp", version=str(abi))

    def gaps(self, policy: SandboxPolicy, view: View) -> tuple[str, ...]:
        found = [PROCESSES, STRAYS]
        if view.roots:
            found.append(METADATA)
        protected = {item.via for root in view.roots for item in root.protected}
        if protected - {SERVER}:
            found.append(RESTORED)
        if SERVER in protected or any(m.server and _within_roots(m.path, view) for m in view.masked):
            found.append(SERVER_FILES)
        return tuple(found)

    def build(self, plan: ExecPlan) -> Launch:
        network = network_allowed(plan.policy)
        prefix = job_control() if plan.stdin == "pty" else ()
        program = _program(network=network, read_only=not plan.view.roots)
        try:
            ruleset = _ruleset(plan.view, network=network)
        except OSError as error:
            raise LaunchError(f"cannot prepare the sandbox: {error.strerror}") from error
        try:
            guard = Guard(plan.view) if plan.view.roots else None
        except BaseException:
            os.close(ruleset)
            raise
        return Launch(
            argv=(*prefix, *limited(plan), *plan.argv),
            env=plan.env,
            cwd=plan.cwd,
            new_session=not prefix,
            marked=True,
            confinement=Confinement(ruleset, program),
            guard=guard,
        )

    def outcome(self, plan: ExecPlan, code: int, report: bytes, said: str) -> Outcome:
        exit_code, signal = shell_code(code)
        return Outcome(started=True, exit_code=exit_code, signal=signal)


def _program(*, network: bool, read_only: bool = True) -> bytes:
    return seccomp.program(network=network, namespaces=False, read_only=read_only)


def _ruleset(view: View, *, network: bool) -> int:
    """The view as a ruleset's descriptor."""
    ruleset = new_ruleset(_ALL_FS, 0 if network else _ALL_NET, _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS)
    masks = [mask.path for mask in view.masked if not (mask.server and _within_roots(mask.path, view))]
    hidden = (*masks, DEV)
    try:
        _allow(ruleset, "/", _READ_DIR)
        for path in _beside("/", hidden):
            _allow(ruleset, path, _READ)
        for path in DEVICES:
            _allow(ruleset, path, _DEVICE)
        for root in view.roots:
            # What is masked below a root stays so: its siblings are then writable one by one.
            masked = [path for path in masks if inside(path, root.path)]
            for path in _beside(root.path, masked) if masked else (root.path,):
                _allow(ruleset, path, _READ | _WRITE)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def _within_roots(path: str, view: View) -> bool:
    return any(inside(path, root.path) for root in view.roots)


def _beside(top: str, hidden: Sequence[str]) -> Iterator[str]:
    """The largest trees below `top` that hold nothing hidden."""
    try:
        names = os.listdir(top)
    except OSError:
        return
    for name in names:
        path = os.path.join(top, name)
        if path in hidden:
            continue
        if any(inside(other, path) for other in hidden):
            yield from _beside(path, hidden)
        else:
            yield path


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone, or not ours to see: nothing is allowed there
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISLNK(mode):
            return
        if not stat.S_ISDIR(mode):
            access &= _READ_ONE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
        allow_beneath(ruleset, fd, access)
    finally:
        os.close(fd)
