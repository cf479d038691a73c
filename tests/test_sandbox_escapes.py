"""Escape attempts against both Linux backends, judged from outside."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import escape_attempts
import pytest

from protocol.policy import ReadOnly, WorkspaceWrite
from sandbox_backends import become_subreaper, default_registry, plan, run_with_plan
from sandbox_backends.own import Own
from sandbox_backends.tree import look

PROGRAM = Path(escape_attempts.__file__).resolve()
METADATA = {"attributes_by_ioctl", "attributes_by_new_calls"}
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


@pytest.fixture(autouse=True, scope="module")
def subreaper():
    become_subreaper()


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
            [sys.executable, "-I", "-S", str(PROGRAM), name, str(workspace), str(outside), str(victim.pid)],
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


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        *((name, "workspaceWrite") for name in escape_attempts.ATTEMPTS),
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
    if not (name in METADATA and backend == "linux-landlock" and policy == "workspaceWrite"):
        assert after == before
    assert not os.path.exists(shared)
    assert victim.poll() is None
    assert look(victim.pid).alive
    assert not (workspace / "stolen").exists()
    assert not os.path.lexists(workspace / ".codex")
    for listener in listeners:
        with pytest.raises(BlockingIOError):
            listener.accept()
    # What the kernel let through was either put right afterwards or is a named gap of the fallback.
    if result.exit_code == 0 and name not in HARMLESS:
        assert backend == "linux-landlock"
        assert result.restored or (name in METADATA and policy == "workspaceWrite")


HARMLESS = {"signal_by_owner_of_a_pipe", "write_behind_the_shared_memory"}
"""The calls succeed; what they would cause does not come."""


def test_unconfined_the_attempts_do_succeed(place):
    """So that an attempt that is merely broken proves nothing."""
    workspace, outside, victim, _ = place
    for name in (
        "exchange_files",
        "link_by_descriptor",
        "nameless_file",
        "reopen_for_writing",
        "signal_by_thread",
    ):
        subprocess.run(
            [sys.executable, "-I", "-S", PROGRAM, name, workspace, outside, str(victim.pid)], check=True
        )
    assert (outside / "made").read_text() == "evil"
    assert victim.wait(10) == -9
