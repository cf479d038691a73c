"""Limits: as rlimits in force, and as a cgroup with a folder in the kernel's place."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
import pytest

from protocol.policy import DangerFullAccess, ReadOnly
from sandbox_backends import default_registry, plan, run_with_plan
from sandbox_backends.errors import SandboxUnavailable
from sandbox_backends.limits import Limits, delegated, gaps, rlimits

pytestmark = pytest.mark.usefixtures("subreaper")

if sys.platform != "linux":
    pytest.skip("the Linux backends", allow_module_level=True)

ENV = {"PATH": os.environ["PATH"]}


def run(made):
    async def main():
        command = await run_with_plan(made)
        return await command.wait()

    return asyncio.run(main())


@pytest.mark.parametrize("backend", ["direct", "linux-bwrap", "linux-landlock"])
def test_every_backend_starts_a_command_with_its_limits(tmp_path, backend):
    registry = default_registry()
    if not registry.capability(backend).ok:
        pytest.skip(registry.capability(backend).reason)
    made = plan(
        ["sh", "-c", "ulimit -f; ulimit -t; ulimit -Hv; ulimit -t 9999 || echo kept"],
        cwd=str(tmp_path),
        policy=DangerFullAccess() if backend == "direct" else ReadOnly(),
        env=ENV,
        limits=Limits(file_size_bytes=1 << 20, cpu_seconds=7, memory_bytes=1 << 30),
        registry=registry if backend == "direct" else registry.only(backend),
    )
    said = run(made).output.text().splitlines()
    assert said[:2] == [str((1 << 20) // 512), "7"]
    assert said[2] == ("unlimited" if made.cgroup else str((1 << 30) // 1024))
    # (root's hard limits go up again where it keeps its capabilities)
    assert backend == "direct" or said[-1] == "kept"


def test_a_command_that_uses_too_much_time_is_ended(tmp_path):
    made = plan(
        ["sh", "-c", "while :; do :; done"],
        cwd=str(tmp_path),
        policy=DangerFullAccess(),
        env=ENV,
        limits=Limits(cpu_seconds=1),
    )
    result = run(made)
    assert result.exit_code in (128 + 24, 128 + 9)


def test_in_a_cgroup_the_command_begins_only_when_it_is_in(tmp_path):
    made = plan(
        ["sh", "-c", "echo pid $$; cat */cgroup.procs"],
        cwd=str(tmp_path),
        policy=DangerFullAccess(),
        env=ENV,
        limits=Limits(processes=20, memory_bytes=1 << 28, cpu_seconds=50),
    )
    result = run(msgspec.structs.replace(made, cgroup=str(tmp_path)))
    pid, member = result.output.text().split()[1:]
    assert pid == member
    [group] = tmp_path.iterdir()
    assert (group / "pids.max").read_text() == "20"
    assert (group / "memory.max").read_text() == str(1 << 28)


def test_without_a_cgroup_the_looser_limits_are_named():
    assert gaps(Limits(memory_bytes=1), grouped=False) == ("memory-limited-per-process",)
    assert gaps(Limits(memory_bytes=1, processes=1), grouped=True) == ()
    folder, why = delegated()
    assert folder or why


def test_without_prlimit_limits_are_refused(monkeypatch):
    monkeypatch.setattr("sandbox_backends.limits._prlimit", lambda: None)
    with pytest.raises(SandboxUnavailable, match="util-linux"):
        rlimits(Limits(cpu_seconds=1), grouped=False, backend="direct")
    assert rlimits(Limits(), grouped=False, backend="direct") == ()
