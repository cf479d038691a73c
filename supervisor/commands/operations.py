"""The server's side of the operator commands: name -> coroutine."""

from __future__ import annotations

from supervisor.commands import (
    drain,
    events,
    inspect,
    kill,
    logs,
    metrics,
    pause,
    ps,
    quarantine,
    replace,
    restart,
    resume,
    stack,
)
from supervisor.control import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: dict[str, Operation] = {
    "ps": ps.serve,
    "inspect": inspect.serve,
    "stack": stack.serve,
    "logs": logs.serve,
    "events": events.serve,
    "kill": kill.serve,
    "restart": restart.serve,
    "pause": pause.serve,
    "resume": resume.serve,
    "drain": drain.serve,
    "replace": replace.serve,
    "quarantine": quarantine.serve,
    "metrics": metrics.serve,
}
