"""What a sandbox backend is: it can say whether it works here, what it cannot enforce, and how to start a command."""

from __future__ import annotations

import contextlib
import os
from typing import Protocol

import msgspec

from protocol.policy import SandboxPolicy
from sandbox_backends.confinement import Confinement
from sandbox_backends.guard import Guard
from sandbox_backends.plan import ExecPlan
from sandbox_backends.result import Outcome
from sandbox_backends.view import View

__all__ = ["Backend", "Capability", "Launch"]


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a backend works on this machine. Plain data: one process may probe for others."""

    ok: bool
    reason: str = ""
    """Why not, or a word on how."""
    remedy: str = ""
    version: str = ""
    path: str = ""
    features: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """What it runs: whoever can write that makes the next sandbox."""


class Launch(msgspec.Struct, kw_only=True):
    """How to start a plan: exactly this argv, environment, directory and these descriptors.

    `handed` are descriptors for the child, `status` the read end on which the backend reports. Both are ours to close.
    `sheath` is the number of the backend's own processes around the command: they get no TERM, they would die of it
    before the command could answer. `marked` asks for the variable by which stray descendants are found.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    handed: tuple[int, ...] = ()
    status: int | None = None
    ghosts: tuple[str, ...] = ()
    sheath: int = 0
    marked: bool = False
    new_session: bool = True
    scoped: bool = False
    """Whether it starts where abstract sockets of others are out of reach (`scoped`)."""
    confinement: Confinement | None = None
    """What the thread that starts the command takes on first. Its ruleset is ours to close."""
    guard: Guard | None = None
    """What puts protected paths right again when the command and all that came of it are gone."""

    def close_handed(self) -> None:
        """Once the child has them."""
        for fd in self.handed:
            with contextlib.suppress(OSError):
                os.close(fd)
        self.handed = ()

    def report(self) -> bytes:
        """What the backend wrote on the status descriptor, which is closed. Call it when its process has ended."""
        if self.status is None:
            return b""
        fd, self.status = self.status, None
        os.set_blocking(fd, False)
        try:
            return os.read(fd, 65536)
        except BlockingIOError:
            return b""
        finally:
            os.close(fd)

    def close(self) -> None:
        self.close_handed()
        self.report()
        if self.confinement is not None:
            self.confinement.close()


class Backend(Protocol):
    """One way to run a command under a policy. Objects are stateless but for what they found out about the machine."""

    @property
    def name(self) -> str: ...

    def probe(self) -> Capability:
        """Try it, once: the registry keeps the answer. May take some ten milliseconds and run programs."""

    def gaps(self, policy: SandboxPolicy, view: View) -> tuple[str, ...]:
        """What of this policy would not be enforced, one word each; raises SandboxUnavailable if it must not run."""

    def build(self, plan: ExecPlan) -> Launch:
        """Make the descriptors and the argv. The caller closes the launch whatever happens."""

    def outcome(self, plan: ExecPlan, code: int, report: bytes, said: str) -> Outcome:
        """Read the end: `code` as of Popen.returncode, `report` from the status descriptor, `said` the last output."""
