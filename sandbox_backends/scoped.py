"""Starting bubblewrap so that abstract unix sockets of others stay out of reach, where it shares our network.

They have no file that a mount could hide, and desktop buses listen on them. Landlock can keep who is in a domain from
those outside; a domain that restricts nothing else lets bubblewrap mount as ever. A domain belongs to a thread and
what it starts, and what is to die with its parent dies with the *thread* that started it: so there is one for good.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from sandbox_backends.confinement import SCOPES_ABI, CallError, enter_ruleset, landlock_abi, new_ruleset

__all__ = ["run_scoped", "scopes"]

T = TypeVar("T")

_ABSTRACT_SOCKETS, _SIGNALS = 1, 2


def scopes() -> bool:
    """Whether this kernel has such domains (Landlock ABI 6, Linux 6.12)."""
    try:
        return landlock_abi() >= SCOPES_ABI
    except CallError:
        return False


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    """Made in the worker, at its first need: no thread survives a fork."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="scoped")
    executor.submit(_enter).result()
    return executor


def _enter() -> None:
    ruleset = new_ruleset(0, 0, _ABSTRACT_SOCKETS | _SIGNALS)
    try:
        enter_ruleset(ruleset)
    finally:
        os.close(ruleset)


def run_scoped(start: Callable[[], T]) -> T:
    """Call `start` in that thread and wait for it. Raises CallError, and what it raises."""
    return _thread().submit(start).result()
