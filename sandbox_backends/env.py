"""The environment a command gets: derived from `shell_environment_policy`, then complete.

The order of the steps is the one Codex documents: inherit, default excludes, `exclude`, `set`, `include_only`.
Patterns are globs over the whole variable name and ignore case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Literal

import msgspec

from protocol.policy import DangerFullAccess, ExternalSandbox, SandboxPolicy

__all__ = [
    "SANDBOX",
    "ShellEnvironmentPolicy",
    "environment",
    "marked",
    "network_allowed",
]

SANDBOX = "CODEX_SANDBOX"
"""Set to `seatbelt` by that backend only; tools look for it."""
NETWORK_DISABLED = "CODEX_SANDBOX_NETWORK_DISABLED"
THREAD_ID = "CODEX_THREAD_ID"
SESSION_ID = "CODEX_SESSION_ID"
CALL_ID = "CODEX_TOOL_CALL_ID"

UNATTENDED: Mapping[str, str] = {
    "CODEX_CI": "1",
    "COLORTERM": "",
    "GH_PAGER": "cat",
    "GIT_PAGER": "cat",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "TERM": "dumb",
}
"""For a model's commands: no pager that waits for a key, no colours, texts in one language."""

CORE = frozenset(
    ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "USER")
)
DEFAULT_EXCLUDES = ("*KEY*", "*SECRET*", "*TOKEN*")


class ShellEnvironmentPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`[shell_environment_policy]`. `ignore_default_excludes=False` drops `*KEY*`, `*SECRET*` and `*TOKEN*`."""

    inherit: Literal["all", "core", "none"] = "all"
    ignore_default_excludes: bool = True
    exclude: tuple[str, ...] = ()
    set: dict[str, str] = {}
    include_only: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob), re.IGNORECASE)


def _any(name: str, globs: Iterable[str]) -> bool:
    return any(_pattern(glob).match(name) for glob in globs)


def environment(
    policy: ShellEnvironmentPolicy,
    base: Mapping[str, str],
    *,
    overrides: Mapping[str, str | None] | None = None,
    thread_id: str | None = None,
    call_id: str | None = None,
) -> dict[str, str]:
    """The complete environment for a command; nothing of `base` is in it that the policy leaves out.

    `overrides` come last: a value sets, `None` unsets (the `env` of `command/exec`). `call_id`: of the model's call
    that the command is, which is then `UNATTENDED`.
    """
    if policy.inherit == "none":
        env: dict[str, str] = {}
    elif policy.inherit == "core":
        env = {name: value for name, value in base.items() if name.upper() in CORE}
    else:
        env = dict(base)
    if not policy.ignore_default_excludes:
        env = {name: value for name, value in env.items() if not _any(name, DEFAULT_EXCLUDES)}
    if policy.exclude:
        env = {name: value for name, value in env.items() if not _any(name, policy.exclude)}
    env.update(policy.set)
    if policy.include_only:
        env = {name: value for name, value in env.items() if _any(name, policy.include_only)}
    if thread_id is not None:
        env[THREAD_ID] = env[SESSION_ID] = thread_id
    if call_id is not None:
        env |= {**UNATTENDED, CALL_ID: call_id}
    for name, value in (overrides or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def network_allowed(policy: SandboxPolicy) -> bool:
    if isinstance(policy, DangerFullAccess):
        return True
    if isinstance(policy, ExternalSandbox):
        return policy.network_access == "enabled"
    return policy.network_access


def marked(env: Mapping[str, str], policy: SandboxPolicy, backend: str, *, sandboxed: bool) -> dict[str, str]:
    """`env` with the two variables that tell tools inside what the sandbox is; stale ones are removed."""
    out = {name: value for name, value in env.items() if name not in (SANDBOX, NETWORK_DISABLED)}
    if sandboxed and not network_allowed(policy):
        out[NETWORK_DISABLED] = "1"
    if backend == "seatbelt":
        out[SANDBOX] = "seatbelt"
    return out
