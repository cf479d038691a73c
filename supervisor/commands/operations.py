"""The server's side of the operator commands: name -> coroutine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from supervisor.commands import kill, ps, restart

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["OPERATIONS"]

OPERATIONS: dict[str, Callable[[Front, dict[str, Any]], Awaitable[dict[str, Any]]]] = {
    "ps": ps.serve,
    "kill": kill.serve,
    "restart": restart.serve,
}
