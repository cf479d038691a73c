"""Time /bin/true, from the start to the end of its output: directly, in each sandbox, and in the peer's.

    .venv/bin/python scripts/sandbox_overhead.py [--rounds 60] [--peer PATH_OF_CODEX] [--heap MIB]

The runners take turns in a new order each round, so that a busy machine is busy for all of them. Prints medians
and, since a machine at work only ever adds, the limit of the fastest tenth. `--heap` has this process hold so much memory, to see whether spawning depends on it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from protocol.policy import DangerFullAccess, ReadOnly, SandboxPolicy, WorkspaceWrite
from sandbox_backends import become_subreaper, default_registry, plan, run_with_plan

TRUE = "/bin/true"
PAGE = 4096


async def _planned(folder: str, policy: SandboxPolicy, backend: str | None) -> float:
    began = time.perf_counter()
    registry = default_registry().only(backend) if backend else None
    if registry is not None and backend is not None:
        registry._probed[backend] = default_registry().capability(backend)  # noqa: SLF001 - as a worker has it
    made = plan([TRUE], cwd=folder, policy=policy, env={"PATH": os.defpath}, registry=registry)
    command = await run_with_plan(made)
    result = await command.wait()
    assert result.exit_code == 0, result
    return time.perf_counter() - began


def _peer(binary: str, folder: str, mode: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [binary, "sandbox", "-c", f"sandbox_mode={mode}", "--", TRUE],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


async def _measure(options: argparse.Namespace, folder: str) -> dict[str, list[float]]:
    write = WorkspaceWrite()
    runners: dict[str, tuple[SandboxPolicy, str | None] | str] = {"direct": (DangerFullAccess(), None)}
    for backend in default_registry().names[1:]:
        if default_registry().capability(backend).ok:
            runners[f"{backend} readOnly"] = (ReadOnly(), backend)
            runners[f"{backend} workspaceWrite"] = (write, backend)
    if options.peer:
        runners["peer read-only"] = "read-only"
        runners["peer workspace-write"] = "workspace-write"
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(options.rounds):
        for name in random.sample(list(runners), len(runners)):
            runner = runners[name]
            if isinstance(runner, str):
                times[name].append(_peer(options.peer, folder, runner))
            else:
                times[name].append(await _planned(folder, *runner))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--peer")
    parser.add_argument("--heap", type=int, default=0, metavar="MIB")
    options = parser.parse_args()
    heap = bytearray(options.heap << 20)
    for at in range(0, len(heap), PAGE):
        heap[at] = 1
    become_subreaper()
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        times = asyncio.run(_measure(options, folder))
    best = statistics.quantiles(times["direct"], n=10)[0]
    middle = statistics.median(times["direct"])
    print(f"{'':32}  median  over direct  fastest tenth  over direct   (ms)")
    for name, seconds in times.items():
        each, tenth = statistics.median(seconds), statistics.quantiles(seconds, n=10)[0]
        columns = (each, each - middle, tenth, tenth - best)
        print(f"{name:32}" + "".join(f"{1000 * value:+12.2f}" for value in columns))


if __name__ == "__main__":
    main()
