"""Escape attempts against both Linux backends, judged from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import escape_attempts
import escape_calls
import pytest

from protocol.policy import ReadOnly, WorkspaceWrite
from sandbox_backends import default_registry, plan, run_with_plan
from sandbox_backends.own import Own
from sandbox_backends.tree import look

pytestmark = pytest.mark.usefixtures("subreaper")

PROGRAMS = {name: module.__file__ for module in (escape_attempts, escape_calls) for name in module.ATTEMPTS}
METADATA = {"attributes_by_ioctl", "attributes_by_new_calls", "attributes_in_every_way"}
"""What the fallback's gap `metadata-outside-roots` is about, where anything may be written at all."""
POLICIES = {
    "readOnly": ReadOnly(),
    "workspaceWrite": WorkspaceWrite(exclude_slash_tmp=True, exclude_tmpdir_env_var=True),
    "online": WorkspaceWrite(exclude_slash_tmp=True, exclude_tmpdir_env_var=True, network_access=True),
}

IPC_RMID, IPC_NOWAIT = 0, 0o4000
LIBC = escape_attempts.LIBC

if sys.platform != "linux":
    pytest.skip("the Linux backends", allow_module_level=True)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A workspace with a repository, a folder outside with a socket, and a process of ours that works there."""
    workspace, outside = tmp_path / "ws", tmp_path / "outside"
    (workspace / ".git" / "hooks").mkdir(parents=True)
    (workspace / ".git" / "hooks" / "pre-commit").write_text("mine")
    (workspace / "sub").mkdir()
    outside.mkdir()
    (outside / "file").write_text("original")
    (outside / "auth.json").write_text('{"token": 1}')
    listeners = []
    for address in (escape_attempts.abstract_name(outside), str(outside / "socket")):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
        listeners.append(listener)
    service = socket.create_server(("127.0.0.1", 0))
    service.setblocking(False)
    listeners.append(service)
    (outside / "port").write_text(str(service.getsockname()[1]))
    queue = LIBC.msgget(0, 0o600)
    (outside / "queue").write_text(str(queue))
    monkeypatch.setenv("ESCAPE_TEST_SECRET", "1")
    with subprocess.Popen(
        ["sleep", "100"], cwd=outside, env={"VICTIM_SECRET": "1", "PATH": os.environ["PATH"]}
    ) as victim:
        try:
            yield workspace, outside, victim, listeners
        finally:
            victim.kill()
            if queue >= 0:
                assert LIBC.msgrcv(queue, bytes(64), 32, 0, IPC_NOWAIT) < 0, "something was sent"
                LIBC.msgctl(queue, IPC_RMID, None)
            for listener in listeners:
                listener.close()


def picture(folder):
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def attempt(name, policy, place, backend):
    workspace, outside, victim, _ = place
    registry = default_registry().only(backend)
    if not registry.capability(backend).ok:
        pytest.skip(registry.capability(backend).reason)

    async def main():
        made = plan(
            [sys.executable, "-S", PROGRAMS[name], name, str(workspace), str(outside), str(victim.pid)],
            cwd=str(workspace),
            policy=POLICIES[policy],
            env={"PATH": os.environ["PATH"]},
            own=Own(masked=(str(outside / "auth.json"),)),
            timeout_ms=20_000,
            registry=registry,
        )
        command = await run_with_plan(made)
        return await command.wait()

    return asyncio.run(main())


def command_lines():
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (folder / "cmdline").read_bytes()


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        *((name, "workspaceWrite") for name in PROGRAMS),
        *((name, policy) for name in escape_calls.ATTEMPTS for policy in ("readOnly", "online")),
        ("talk_to_an_abstract_socket", "online"),
        ("rare_socket_families", "online"),
        *((name, "readOnly") for name in ("attributes_by_ioctl", "nameless_file", "read_the_masked_file")),
    ],
)
@pytest.mark.parametrize("backend", ["linux-bwrap", "linux-landlock"])
def test_no_attempt_changes_anything_outside(place, backend, name, policy):
    workspace, outside, victim, listeners = place
    before = picture(outside), picture(workspace / ".git"), os.listdir(workspace / ".git")
    shared = f"/dev/shm/{workspace.parent.name}"
    result = attempt(name, policy, place, backend)
    assert result.setup_failed is None
    assert result.started
    after = picture(outside), picture(workspace / ".git"), os.listdir(workspace / ".git")
    if not (name in METADATA and backend == "linux-landlock" and policy != "readOnly"):
        assert after == before
    assert not os.path.exists(shared)
    assert victim.poll() is None
    assert look(victim.pid).alive
    assert not (workspace / "stolen").exists()
    assert not os.path.lexists(workspace / ".codex")
    key = escape_calls.key_of(outside)
    assert LIBC.shmget(key, 0, 0) < 0
    assert LIBC.semget(key, 0, 0) < 0
    assert LIBC.mq_open(f"/escape{key}".encode(), os.O_RDONLY) < 0
    assert not any(f"97{key}".encode() in command for command in command_lines())
    for listener in listeners:
        with pytest.raises(BlockingIOError):
            listener.accept()
    # What the kernel let through was either put right afterwards or is a named gap of the fallback.
    if result.exit_code == 0 and name not in HARMLESS and (name, policy) not in GRANTED:
        assert backend == "linux-landlock"
        assert result.restored or (name in METADATA and policy != "readOnly")


GRANTED = {("socket_diagnosis", "online")}
"""The network of the machine is granted, and so is the sight of it."""
HARMLESS = {
    *("signal_by_owner_of_a_pipe", "write_behind_the_shared_memory"),
    *("shared_memory_of_system_v", "semaphores_of_system_v", "queue_of_posix"),
    # In bubblewrap that is a process of the sandbox, as confined as the command: it can only tell its end wrongly.
    "memory_of_the_first_process",
}
"""The calls succeed; what they would cause does not come."""


def test_unconfined_the_attempts_do_succeed(place):
    """So that an attempt that is merely broken proves nothing."""
    workspace, outside, victim, _ = place
    for name in (
        "exchange_files",
        "link_by_descriptor",
        "nameless_file",
        "reopen_for_writing",
        *("open_with_resolve_flags", "path_descriptor_reopened", "attributes_in_every_way"),
        *("memory_of_the_first_process", "victim_slowed_down", "socket_diagnosis"),
        *("keys_of_the_user", "performance_counters", "every_other_family", "victim_compared_and_moved"),
        "signal_by_thread",
    ):
        subprocess.run(
            [sys.executable, "-S", PROGRAMS[name], name, workspace, outside, str(victim.pid)], check=True
        )
    assert (outside / "made").read_text() == "evil"
    assert victim.wait(10) == -9
