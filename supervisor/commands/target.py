"""Which server, which thread: how operators name them.

A thread is named by its name, by its id or any unique beginning of it, or by any part of the id of at least 4
characters that is unique (ids made in one second begin alike). A server is named by its pid, its name, or a unique beginning of that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from protocol.rpc import RpcError
from supervisor import exit_codes
from supervisor.control import ASK_TIMEOUT_S, ask
from supervisor.loaded import LoadedThread
from supervisor.runtime import ServerRecord, running_servers

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["arguments", "ask_about", "ask_server", "deadline_of", "find_thread", "servers"]

MIN_PART = 4


def arguments(parser: argparse.ArgumentParser, *, thread: bool) -> None:
    if thread:
        parser.add_argument(
            "thread", metavar="THREAD", help="name or id of a thread, or a unique part of the id"
        )
    parser.add_argument("--server", metavar="SERVER", help="pid or name of a server, if several run")
    parser.add_argument("--json", action="store_true", help="print JSON")


def servers(wanted: str | None) -> list[ServerRecord]:
    found = running_servers()
    if wanted is None:
        return found
    return [server for server in found if str(server.pid) == wanted or server.name.startswith(wanted)]


def find_thread(front: Front, part: str) -> LoadedThread:
    """The one thread that `part` names.

    Raises:
        RpcError: none, or several; `data` says which.
    """
    if not part:
        raise RpcError("name a thread", data={"kind": "notFound"})
    threads = front.supervisor.threads
    if part in threads:
        return threads[part]
    fits = [t for t in threads.values() if t.facts.name == part]
    fits = fits or [t for t in threads.values() if t.id.startswith(part)]
    if not fits and len(part) >= MIN_PART:
        fits = [t for t in threads.values() if part in t.id]
    if not fits:
        raise RpcError(f"no loaded thread is called {part}", data={"kind": "notFound"})
    if len(fits) > 1:
        names = ", ".join(sorted(t.id for t in fits)[:5])
        raise RpcError(f"{part} may be any of {len(fits)} threads: {names}", data={"kind": "ambiguous"})
    return fits[0]


def deadline_of(params: Mapping[str, Any]) -> float | None:
    """Seconds, or None for as long as it takes. Raises RpcError if it is something else."""
    deadline = params.get("deadline")
    if deadline is None or (isinstance(deadline, (int, float)) and not isinstance(deadline, bool)):
        return deadline
    raise RpcError("deadline is a number of seconds")


def ask_about(
    options: argparse.Namespace, operation: str, timeout: float | None = ASK_TIMEOUT_S, **params: Any
) -> tuple[int, dict[str, Any] | None]:
    """Carry an operation out on the one server that has the thread; the exit code and the result."""
    refusals: list[RpcError] = []
    results: list[dict[str, Any]] = []
    candidates = servers(options.server)
    if not candidates:
        print("bulkhead: no server is running", file=sys.stderr)
        return exit_codes.NOT_FOUND, None
    if len(candidates) > 1:
        # Look first, so that a part of an id which fits in two servers touches neither.
        having = [s for s in candidates if _has(s, options.thread)]
        if len(having) > 1:
            names = ", ".join(s.name for s in having)
            print(
                f"bulkhead: {options.thread} is in several servers ({names}); use --server", file=sys.stderr
            )
            return exit_codes.AMBIGUOUS, None
        candidates = having or candidates[:1]
    for server in candidates:
        try:
            results.append(ask(server, operation, {"thread": options.thread, **params}, timeout))
        except RpcError as error:
            refusals.append(error)
        except OSError as error:
            print(f"bulkhead: server {server.name}: {error}", file=sys.stderr)
            return exit_codes.FAILED, None
    if results:
        return exit_codes.OK, results[0]
    refusal = refusals[0]
    print(f"bulkhead: {refusal.message}", file=sys.stderr)
    kind = refusal.data.get("kind") if isinstance(refusal.data, dict) else None
    codes = {"notFound": exit_codes.NOT_FOUND, "ambiguous": exit_codes.AMBIGUOUS}
    return codes.get(str(kind), exit_codes.FAILED), None


def _has(server: ServerRecord, part: str) -> bool:
    try:
        rows = ask(server, "ps", {"usage": False})["threads"]
    except (OSError, RpcError):
        return False
    return any(part in row["thread"] or part == row["name"] for row in rows)


def ask_server(
    options: argparse.Namespace, operation: str, timeout: float | None = ASK_TIMEOUT_S, **params: Any
) -> tuple[int, dict[str, Any] | None]:
    """Carry an operation out on the one server that runs, or that is named; the exit code and the result."""
    candidates = servers(options.server)
    if not candidates:
        print("bulkhead: no server is running", file=sys.stderr)
        return exit_codes.NOT_FOUND, None
    if len(candidates) > 1:
        names = ", ".join(server.name for server in candidates)
        print(f"bulkhead: several servers run ({names}); use --server", file=sys.stderr)
        return exit_codes.AMBIGUOUS, None
    try:
        return exit_codes.OK, ask(candidates[0], operation, params, timeout)
    except RpcError as error:
        print(f"bulkhead: {error.message}", file=sys.stderr)
    except OSError as error:
        print(f"bulkhead: server {candidates[0].name}: {error}", file=sys.stderr)
    return exit_codes.FAILED, None
