"""The metrics as text: Prometheus' exposition format 0.0.4. It knows nothing of how the text gets out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from supervisor.limiter import Gate, Limiter
from supervisor.metrics import Histogram
from supervisor.states import State
from supervisor.version import VERSION

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["CONTENT_TYPE", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = tuple(state for state in State if state is not State.PARKED)


def render(front: Front) -> str:
    """All families, each with HELP and TYPE; ends with a newline."""
    return "\n".join(_lines(front)) + "\n"


def _lines(front: Front) -> Iterator[str]:
    supervisor, counts = front.supervisor, front.journal.counts
    threads = supervisor.threads.values()
    states = Counter(thread.state for thread in threads)
    yield from _family("info", "gauge", "The running version.", {f'version="{VERSION}"': 1})
    yield from _family(
        "threads",
        "gauge",
        "Loaded threads by the state of their worker.",
        {f'state="{state}"': states[state] for state in _STATES},
    )
    yield from _family(
        "parked_workers", "gauge", "Workers that wait for a thread.", {"": len(front.nursery.parked)}
    )
    yield from _family("clients", "gauge", "Connected clients.", {"": len(front.connections)})
    yield from _family(
        "worker_births_total", "counter", "Workers given to threads.", {"": counts["worker-adopted", ""]}
    )
    deaths = {reason: count for (event, reason), count in counts.items() if event == "worker-ended"}
    yield from _family(
        "worker_deaths_total",
        "counter",
        "Ends of workers by reason.",
        {f'reason="{reason}"': count for reason, count in sorted(deaths.items())},
    )
    for name, event, text in (
        ("restarts_total", "restart", "New workers after a death."),
        ("quarantines_total", "quarantined", "Threads quarantined."),
        ("hangs_total", "hung", "Workers found to hang."),
        ("stalled_clients_total", "client-stalled", "Clients let go since they did not read."),
    ):
        yield from _family(name, "counter", text, {"": counts[event, ""]})
    yield from _family(
        "wakes_total", "counter", "Hibernated threads woken.", {"": supervisor.succession.wakes}
    )
    yield from _family(
        "restarts_waiting", "gauge", "Restarts held back by rationing.", {"": supervisor.succession.waiting}
    )
    yield from _family(
        "turns_running", "gauge", "Turns under way.", {"": sum(thread.busy for thread in threads)}
    )
    yield from _family(
        "commands_waiting",
        "gauge",
        "Requests that workers have not answered.",
        {"": sum(len(thread.pending) for thread in threads)},
    )
    yield from _family(
        "outbox_bytes",
        "gauge",
        "What clients have not taken yet.",
        {"": sum(connection.outbox.queued for connection in front.connections)},
    )
    yield from _family(
        "credit_owed_bytes",
        "gauge",
        "Taken by clients, and not yet given back to workers.",
        {"": sum(t.incarnation.owed for t in threads if t.incarnation is not None)},
    )
    yield from _family("thread_log_bytes", "gauge", "All thread logs together.", {"": front.limits.log_bytes})
    yield from _streams(front.broker.limiter)
    requests = front.metrics.requests
    yield from _family(
        "requests_total",
        "counter",
        "Requests of clients by method.",
        {f'method="{method}"': count for method, count in sorted(requests.items())},
    )
    yield from _histogram("turn_seconds", "From the acceptance of a turn to its end.", front.metrics.turns)
    yield from _histogram(
        "first_token_seconds",
        "From the acceptance of a turn to the first word of its model.",
        front.metrics.first_tokens,
    )
    yield from _histogram(
        "death_told_seconds",
        "From a worker's death in a turn to the word on the turn's end.",
        front.metrics.deaths,
    )
    yield from _histogram("loop_lag_seconds", "How late the front's loop was.", front.metrics.lag)


def _streams(limiter: Limiter) -> Iterator[str]:
    """One sample a provider; one without a bound has no sample of it."""

    def labelled(value: Callable[[Gate], float | None]) -> dict[str, float]:
        samples = ((f'provider="{_escaped(name)}"', value(gate)) for name, gate in limiter.gates)
        return {label: found for label, found in samples if found is not None}

    for name, kind, text, value in (
        (
            "model_streams",
            "gauge",
            "Model streams open, as far as they are counted.",
            lambda gate: len(gate.open),
        ),
        ("model_streams_limit", "gauge", "How many may be open at once.", lambda gate: gate.limit),
        (
            "model_streams_waiting",
            "gauge",
            "Streams that wait for a place or the end of a pause.",
            lambda gate: gate.waiting,
        ),
        ("model_pause_seconds", "gauge", "How long no stream may begin.", lambda gate: gate.paused_s),
        (
            "model_pauses_total",
            "counter",
            "How often a provider wanted all to wait.",
            lambda gate: gate.pauses,
        ),
    ):
        yield from _family(name, kind, text, labelled(value))


def _escaped(value: str) -> str:
    """For a label: a user chooses the names of providers."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _family(name: str, kind: str, text: str, samples: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP bulkhead_{name} {text}"
    yield f"# TYPE bulkhead_{name} {kind}"
    for labels, value in samples.items():
        yield f"bulkhead_{name}{{{labels}}} {value}" if labels else f"bulkhead_{name} {value}"


def _histogram(name: str, text: str, histogram: Histogram) -> Iterator[str]:
    yield f"# HELP bulkhead_{name} {text}"
    yield f"# TYPE bulkhead_{name} histogram"
    total = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        total += count
        yield f'bulkhead_{name}_bucket{{le="{bound}"}} {total}'
    yield f"bulkhead_{name}_sum {histogram.sum:.6f}"
    yield f"bulkhead_{name}_count {total}"
