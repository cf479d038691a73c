"""The backends there are, what each was found to be able to do, and which one a plan gets."""

from __future__ import annotations

import sys
from functools import lru_cache

from protocol.policy import DangerFullAccess, ExternalSandbox, SandboxPolicy
from sandbox_backends.backend import Backend, Capability
from sandbox_backends.bwrap import Bwrap
from sandbox_backends.direct import Direct
from sandbox_backends.errors import SandboxUnavailable
from sandbox_backends.landlock import Landlock
from sandbox_backends.seatbelt import Seatbelt
from sandbox_backends.view import View

__all__ = ["Choice", "Registry", "default_registry"]

Choice = tuple[Backend, str, tuple[str, ...]]
"""(backend, why it, gaps)"""


class Registry:
    """Backends by name. `direct` confines nothing and is never a fallback; the others are tried in order."""

    def __init__(self, confining: tuple[Backend, ...] = (), direct: Backend | None = None) -> None:
        self._direct = direct or Direct()
        self._confining = list(confining)
        self._probed: dict[str, Capability] = {}

    def add(self, backend: Backend) -> None:
        """Another confining backend, tried after those there are."""
        self._confining.append(backend)

    @property
    def names(self) -> tuple[str, ...]:
        return (self._direct.name, *(backend.name for backend in self._confining))

    def get(self, name: str) -> Backend:
        """Raises SandboxUnavailable for a name that is not there, as in a plan from another machine."""
        for backend in (self._direct, *self._confining):
            if backend.name == name:
                if name != self._direct.name:
                    self.capability(name)
                return backend
        raise SandboxUnavailable(f"there is no sandbox backend {name!r}")

    def capability(self, name: str) -> Capability:
        """What the backend can do here; probed on the first call, for some ten milliseconds, then remembered.

        A process that forks others calls this once before, so that none of them probes again.
        """
        if name not in self._probed:
            backend = next((b for b in (self._direct, *self._confining) if b.name == name), None)
            if backend is None:
                raise SandboxUnavailable(f"there is no sandbox backend {name!r}")
            self._probed[name] = backend.probe()
        return self._probed[name]

    def programs(self, policy: SandboxPolicy) -> tuple[str, ...]:
        """The files of what stands between a command of this policy and the machine."""
        if isinstance(policy, DangerFullAccess | ExternalSandbox):
            return ()
        first = next((found for b in self._confining if (found := self.capability(b.name)).ok), None)
        return first.files if first is not None else ()

    def forget(self) -> None:
        """Probe again at the next need, as after a set-up failure."""
        self._probed.clear()

    def only(self, name: str) -> Registry:
        """A registry whose only confining backend is that one: for who wants to see what it does."""
        return Registry(tuple(backend for backend in self._confining if backend.name == name), self._direct)

    def choose(self, policy: SandboxPolicy, view: View, *, sandboxed: bool = True) -> Choice:
        """The backend for a policy. Raises SandboxUnavailable; nothing ever degrades to `direct` by itself."""
        if not sandboxed:
            return self._direct, "approved to run without a sandbox", ()
        if isinstance(policy, DangerFullAccess):
            return self._direct, "the policy asks for no sandbox", ()
        if isinstance(policy, ExternalSandbox):
            return self._direct, "something around this process confines already", ()
        refusals: list[SandboxUnavailable] = []
        for backend in self._confining:
            capability = self.capability(backend.name)
            if not capability.ok:
                refusals.append(SandboxUnavailable(f"{backend.name}: {capability.reason}", capability.remedy))
                continue
            try:
                gaps = backend.gaps(policy, view)
            except SandboxUnavailable as error:
                refusals.append(error)
                continue
            why = f"first that works here: {capability.reason} {capability.version}".rstrip()
            return backend, "; ".join((why, *map(str, refusals))), gaps
        if refusals:
            others = "".join(f"; {error}" for error in refusals[1:])
            raise SandboxUnavailable(refusals[0].reason + others, refusals[0].remedy)
        raise SandboxUnavailable(f"there is no sandbox for {sys.platform}")


@lru_cache(maxsize=1)
def default_registry() -> Registry:
    """The registry of this process; nothing is probed yet."""
    if sys.platform == "linux":
        return Registry((Bwrap(), Landlock()))
    return Registry((Seatbelt(),)) if sys.platform == "darwin" else Registry()
