"""What is under way on a thread's patch, in the home, where no command can write: from before its program starts until it ended by itself.

A worker that is killed leaves the file; whoever loads the thread next puts back what the program had half done. That
runs in the sandbox that the patch had, as it stands here: what the workspace says may be a command's doing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from protocol.policy import SandboxPolicy
from rollouts.layout import Home
from sandbox_backends.view import Pin
from workers.tools.patch_undo import Step

__all__ = ["Intent", "PatchJournal"]


class _Step(msgspec.Struct, frozen=True, array_like=True):
    """`patch_undo.Step`. Paths are bytes: they need not be UTF-8."""

    path: bytes
    base: bytes
    new: str
    old: bool


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One patch: its token, where its program runs and how it is confined, and its steps."""

    token: str
    cwd: str
    workspace: str
    policy: SandboxPolicy
    pins: tuple[Pin, ...] = ()
    sandboxed: bool = True
    found: tuple[_Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(
            Step(os.fsdecode(step.path), os.fsdecode(step.base), step.new, step.old) for step in self.found
        )

    def of(self, steps: Sequence[Step]) -> Intent:
        found = tuple(
            _Step(os.fsencode(step.path), os.fsencode(step.base), step.new, step.old) for step in steps
        )
        return msgspec.structs.replace(self, found=found)


class PatchJournal:
    """Of one thread, which applies one patch at a time."""

    def __init__(self, home: str, thread_id: str) -> None:
        self._path: Path = Home(home).patches / thread_id

    def write(self, intent: Intent) -> None:
        """Raises OSError. Not synced: a machine that loses power may lose this and the files alike."""
        os.makedirs(self._path.parent, mode=0o700, exist_ok=True)
        fresh = self._path.with_name(f".{self._path.name}")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(msgspec.json.encode(intent))
        os.replace(fresh, self._path)

    def read(self) -> Intent | None:
        """What is under way, or was; None also for what is not understood."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Intent)
        except (OSError, msgspec.MsgspecError):
            return None

    def clear(self) -> None:
        with suppress(OSError):
            os.unlink(self._path)
