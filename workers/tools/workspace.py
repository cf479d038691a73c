"""What a thread's policy makes writable, held to what it was: commands of the thread may have moved it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from protocol.policy import SandboxPolicy
from sandbox_backends.errors import RootReplacedError
from sandbox_backends.view import Pin, pin

__all__ = ["Workspace"]


class Workspace:
    """The identities of the writable roots.

    Within a turn a root is the very directory it was. Between turns its owner may have made it anew, but never has
    it become a symlink, or lie behind one: only a command would do that.
    """

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._turn = ""
        self._pinned: dict[tuple[SandboxPolicy, str], tuple[Pin, ...]] = {}

    def pins(self, turn_id: str, policy: SandboxPolicy, cwd: str, env: Mapping[str, str]) -> tuple[Pin, ...]:
        """The pins of this turn. Raises PlanError."""
        if turn_id != self._turn:
            self._turn = turn_id
            self._pinned.clear()
        key = (policy, cwd)
        if key not in self._pinned:
            pins = pin(policy, cwd, env)
            for root in pins:
                real = os.path.realpath(root.path)
                if self._places.setdefault(root.path, real) != real:
                    raise RootReplacedError(root.path)
            self._pinned[key] = pins
        return self._pinned[key]
