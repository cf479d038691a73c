"""What the front answers itself when it cannot serve: one text and one code for each reason."""

from __future__ import annotations

from protocol.rpc import INTERNAL_ERROR, OVERLOADED, RpcError
from supervisor.launcher import LaunchError
from supervisor.loaded import LoadedThread

__all__ = ["draining", "no_worker", "quarantined", "shutting_down", "too_many_requests", "too_many_threads"]


def shutting_down() -> RpcError:
    return RpcError("the server is shutting down", OVERLOADED, {"server_overloaded": "shutting down"})


def draining() -> RpcError:
    return RpcError(
        "no new turns: an operator has asked for the end of what runs",
        OVERLOADED,
        {"server_overloaded": "draining"},
    )


def no_worker(error: LaunchError) -> RpcError:
    return RpcError(
        f"no worker process can be started: {error}", OVERLOADED, {"server_overloaded": str(error)}
    )


def too_many_requests(limit: int) -> RpcError:
    text = f"{limit} requests of this connection wait for an answer already"
    return RpcError(text, OVERLOADED, {"server_overloaded": text})


def too_many_threads(limit: int) -> RpcError:
    text = f"{limit} threads are loaded already, as many as `bulkhead.max_threads` allows"
    return RpcError(text, OVERLOADED, {"server_overloaded": text})


def quarantined(thread: LoadedThread, window_s: float) -> RpcError:
    return RpcError(
        f"thread {thread.id} is quarantined: its worker died {len(thread.deaths)} times within "
        f"{window_s:g} s, last: {thread.last_end}. "
        f"Release it with `bulkhead quarantine release {thread.id}` or `bulkhead restart {thread.id}`.",
        INTERNAL_ERROR,
        {"quarantined": str(thread.last_end), "deaths": len(thread.deaths)},
    )
