"""What a core dump would hold: credentials. Real processes are ended by real signals, where the system writes dumps to files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from issuer_server import store
from running_server import await_ends

PLANTED = "planted-0f6b2c9d"
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def dumps(tmp_path):
    """This process, and so what it starts, may leave dumps; skipped where they do not come to the working directory."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if "/" in pattern or pattern.startswith("|") or before[1] == 0:
        pytest.skip(f"dumps are not to be had as files here: {pattern}")
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    control = tmp_path / "control"
    control.mkdir()
    ends = f"import os; token = '{PLANTED}' + str(os.getpid()); os.abort()"
    subprocess.run([sys.executable, "-c", ends], cwd=control, check=False)
    try:
        if not any(PLANTED.encode() in dump.read_bytes() for dump in control.iterdir()):
            pytest.skip("an aborted process leaves no dump with its memory here")
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def holds(pid, text):
    """Whether the text is anywhere in the memory of a process."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, mode, *_ = line.split()
            if mode.startswith("rw"):
                start, end = (int(part, 16) for part in where.split("-"))
                memory.seek(start)
                with suppress(OSError):
                    if text in memory.read(end - start):
                        return True
    return False


@pytest.mark.parametrize("raised", [False, True], ids=["as started", "limit raised from outside"])
def test_no_dump_holds_a_token(server, account_home, issuer, dumps, raised):
    issuer.mark = PLANTED
    store(account_home, issuer.stored())
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    pids = [client.worker(thread), client.zygote, client.pid]
    assert holds(client.pid, PLANTED.encode())
    folders = {Path(os.readlink(f"/proc/{pid}/cwd")) for pid in pids}
    if raised:
        try:
            for pid in pids:
                resource.prlimit(pid, resource.RLIMIT_CORE, UNLIMITED)
        except PermissionError:
            pytest.skip("only a privileged user can raise the limits of others")
    for pid, number in zip(pids, (signal.SIGSEGV, signal.SIGABRT, signal.SIGABRT), strict=True):
        os.kill(pid, number)
        await_ends([pid])
    await_ends(client.marked.processes())  # the server may have begun another zygote
    left = [dump for folder in folders for dump in folder.glob("core*") if dump.is_file()]
    try:
        assert bool(left) == raised
        assert not [dump for dump in left if PLANTED.encode() in dump.read_bytes()]
    finally:
        for dump in left:
            dump.unlink()
