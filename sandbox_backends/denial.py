"""Whether a command failed because the sandbox stopped it: by evidence, not by words alone.

A refusal's text names a path or a call. It counts as a denial where the view says no *and* the same user could have
done it outside; otherwise it is an ordinary error that no escalation would cure.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from typing import Literal

import msgspec

from protocol.policy import DangerFullAccess, ExternalSandbox
from sandbox_backends.env import network_allowed
from sandbox_backends.plan import ExecPlan
from sandbox_backends.view import writable

__all__ = ["TAIL", "Denial", "detect"]

TAIL = 8192
"""Bytes of the last output that are looked at."""

_REFUSED = re.compile(r"Read-only file system|Operation not permitted|Permission denied")
_QUOTED = re.compile("['\"`\u2018]([^'\"`\u2018\u2019]+)['\"\u2019]")
_COLON = re.compile(r"(?:^|[:\s])(?P<path>[^:\s][^:\n]*?): (?:Read-only|Operation not|Permission denied)")
_VERB = re.compile(
    r"^(?:cannot|can't|could not|failed to|unable to) \w+ (?:(?:regular )?(?:directory|file) )?"
)
_NETWORK = re.compile(
    r"Network is unreachable|Temporary failure in name resolution|Could not resolve host"
    r"|EAI_AGAIN|Cannot assign requested address"
)
_CALL = re.compile(r"\b(socket|ptrace|unshare|mount|keyctl|bpf|io_uring\w*)\b", re.IGNORECASE)


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """What was denied. `high` was checked against the file system or said by the kernel, `low` is a guess from text."""

    kind: Literal["fs", "network", "seccomp", "syscall"]
    path: str | None = None
    confidence: Literal["high", "medium", "low"] = "high"


def detect(plan: ExecPlan, exit_code: int, said: str) -> Denial | None:
    """Judge the end of a command that ran; `said` is the end of its stderr, or of both streams merged."""
    if plan.backend == "direct" or isinstance(plan.policy, DangerFullAccess | ExternalSandbox):
        return None
    if exit_code == 128 + signal.SIGSYS:
        return Denial(kind="seccomp")
    if exit_code == 0:
        return None
    lines = said[-TAIL:].splitlines()
    refused = [line for line in lines if _REFUSED.search(line)]
    for line in refused:
        for path in _paths(line, plan.cwd):
            if not writable(plan.view, path) and _could_write(path):
                return Denial(kind="fs", path=path)
    if not network_allowed(plan.policy) and _NETWORK.search(said):
        return Denial(kind="network", confidence="medium")
    if any("Operation not permitted" in line and _CALL.search(line) for line in refused):
        return Denial(kind="syscall", confidence="low")
    return None


def _paths(line: str, cwd: str) -> Iterator[str]:
    """What in an error line may be the path it is about, best guess first, canonical but for the last component."""
    for guess in (*reversed(_QUOTED.findall(line)), *(match["path"] for match in _COLON.finditer(line))):
        text = guess.strip()
        # "sh: 1: cannot create /x: Permission denied" leaves words in front of the path.
        for candidate in (_VERB.sub("", text), text.rpartition(" ")[2]):
            path = os.path.normpath(os.path.join(cwd, candidate))
            if candidate and "\0" not in candidate and os.path.isdir(os.path.dirname(path)):
                yield os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _could_write(path: str) -> bool:
    """Whether this user may write there without a sandbox: the entry itself, or the directory it would be made in."""
    target = path if os.path.lexists(path) else os.path.dirname(path)
    try:
        return os.access(target, os.W_OK)
    except OSError:
        return False
