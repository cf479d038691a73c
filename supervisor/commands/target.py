"""Which server, which thread: how operators name them.

A thread is named by its name, by its id or any unique beginning of it, or by any part of the id of at least 4
characters that is unique (ids made in one second begin alike). A server is named by its pid, its name, or a unique beginning of that.
Of several servers that may have the thread each is asked first, so that a name which fits in two touches neither.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from protocol.rpc import RpcError
from supervisor import exit_codes
from supervisor.addressing import as_canonical
from supervisor.control import ASK_TIMEOUT_S, ask
from supervisor.loaded import LoadedThread
from supervisor.runtime import ServerRecord, UnsafeRuntimeDirectory, lives, running_servers

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = [
    "arguments",
    "ask_about",
    "ask_all",
    "ask_server",
    "deadline_of",
    "find_thread",
    "known_id",
    "servers",
]

MIN_PART = 4
LOOK_S = 0.01
ENDING_S = 0.5
"""More than the kernel needs to close what a dead process had open."""


def arguments(parser: argparse.ArgumentParser, *, thread: bool) -> None:
    if thread:
        parser.add_argument(
            "thread", metavar="THREAD", help="name or id of a thread, or a unique part of the id"
        )
    parser.add_argument("--server", metavar="SERVER", help="pid or name of a server, if several run")
    parser.add_argument("--json", action="store_true", help="print JSON")


def servers(wanted: str | None) -> list[ServerRecord]:
    """Those that run, or that are named so; ends the command if there is none of that name, or no telling."""
    try:
        found = running_servers()
    except (OSError, UnsafeRuntimeDirectory) as error:
        print(f"bulkhead: {error}", file=sys.stderr)
        raise SystemExit(exit_codes.FAILED) from None
    if wanted is None:
        return found
    named = [server for server in found if wanted in (str(server.pid), server.name)]
    named = named or [server for server in found if wanted and server.name.startswith(wanted)]
    if not named:
        print(f"bulkhead: no running server is called {wanted}", file=sys.stderr)
        raise SystemExit(exit_codes.NOT_FOUND)
    return named


def find_thread(front: Front, part: str) -> LoadedThread:
    """The one thread that `part` names.

    Raises:
        RpcError: none, or several; `data` says which.
    """
    if not part:
        raise RpcError("name a thread", data={"kind": "notFound"})
    threads = front.supervisor.threads
    whole = threads.get(as_canonical(part))
    if whole is not None:
        return whole
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


def known_id(front: Front, part: str) -> str:
    """The id of a thread that is loaded, or was: then by its whole id, and as long as the server has its log.

    Raises:
        RpcError: as `find_thread`.
    """
    try:
        return find_thread(front, part).id
    except RpcError:
        whole = as_canonical(part)
        if whole not in {name.removesuffix(".log") for name in os.listdir(front.runtime.logs)}:
            raise
    return whole


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
    candidates = servers(options.server)
    if not candidates:
        print("bulkhead: no server is running", file=sys.stderr)
        return exit_codes.NOT_FOUND, None
    if len(candidates) > 1:
        try:
            having = [server for server in candidates if _has(server, options.thread)]
        except OSError:  # whoever has not answered may have it, too
            print("bulkhead: say with --server which one is meant", file=sys.stderr)
            return exit_codes.FAILED, None
        if len(having) > 1:
            names = ", ".join(s.name for s in having)
            print(
                f"bulkhead: {options.thread} is in several servers ({names}); use --server", file=sys.stderr
            )
            return exit_codes.AMBIGUOUS, None
        candidates = having or candidates
    return _ask(candidates[0], operation, {"thread": options.thread, **params}, timeout)


def _has(server: ServerRecord, part: str) -> bool:
    """Raises OSError, and says so, if a server that runs does not answer."""
    try:
        rows = ask(server, "ps", {"usage": False})["threads"]
    except OSError as error:
        if _has_ended(server, error):
            return False
        _not_answered(server, error)
        raise
    return any(part in row["thread"] or part == row["name"] for row in rows)


def _ask(
    server: ServerRecord, operation: str, params: dict[str, Any], timeout: float | None
) -> tuple[int, dict[str, Any] | None]:
    try:
        return exit_codes.OK, ask(server, operation, params, timeout)
    except RpcError as error:
        print(f"bulkhead: {error.message}", file=sys.stderr)
        kind = error.data.get("kind") if isinstance(error.data, dict) else None
        codes = {"notFound": exit_codes.NOT_FOUND, "ambiguous": exit_codes.AMBIGUOUS}
        return codes.get(str(kind), exit_codes.FAILED), None
    except OSError as error:
        _not_answered(server, error)
    return exit_codes.FAILED, None


def _has_ended(server: ServerRecord, error: OSError) -> bool:
    """Whether it is not there any more, and that is why. A process that dies gives up its sockets before its lock."""
    end = time.monotonic() + (ENDING_S if isinstance(error, ConnectionError) else 0)
    while lives(server.directory):
        if time.monotonic() >= end:
            return False
        time.sleep(LOOK_S)
    return True


def _not_answered(server: ServerRecord, error: OSError) -> None:
    why = "does not answer" if isinstance(error, TimeoutError) else str(error)
    print(f"bulkhead: server {server.name}: {why}", file=sys.stderr)


def ask_all(found: list[ServerRecord]) -> tuple[list[dict[str, Any]], int]:
    """What `ps` says on each, and the exit code: one that runs and does not answer is told on stderr."""
    answers = []
    code = exit_codes.OK
    for server in found:
        try:
            answers.append(ask(server, "ps", {}))
        except RpcError as error:
            print(f"bulkhead: server {server.name}: {error.message}", file=sys.stderr)
            code = exit_codes.FAILED
        except OSError as error:
            if not _has_ended(server, error):
                _not_answered(server, error)
                code = exit_codes.FAILED
    return answers, code


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
    return _ask(candidates[0], operation, params, timeout)
