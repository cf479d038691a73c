"""The server's side of the operator commands: name -> coroutine."""

from __future__ import annotations

from supervisor.commands import kill, ps, restart
from supervisor.control import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: dict[str, Operation] = {
    "ps": ps.serve,
    "kill": kill.serve,
    "restart": restart.serve,
}
