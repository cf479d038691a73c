"""`command/exec`: what a client runs on the machine without a thread."""

from __future__ import annotations

import base64
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from protocol_client import ProtocolClient, RpcError
from running_server import PATIENCE_S, await_ends, children, resident_kib, runtime_folder

FULL = {"sandboxPolicy": {"type": "dangerFullAccess"}}
"""Without a sandbox a command starts in a tenth of the time."""
FLOOD_KIB = 60_000
"""Far more than any window, and far less than a flood of some seconds."""
LINE_BYTES = 64 * 1024
STANDSTILL_S, LOOK_S = 0.5, 0.02


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def shell(script: str, **params):
    return {"command": ["/bin/sh", "-c", script], **FULL, **params}


def deltas(client, name: str, *, since: int = 0):
    return [
        line.params
        for line in client.received("command/exec/outputDelta", since=since)
        if line.params["processId"] == name
    ]


def streamed(client, name: str, stream: str = "stdout", *, since: int = 0) -> bytes:
    return b"".join(
        base64.b64decode(delta["deltaBase64"])
        for delta in deltas(client, name, since=since)
        if delta["stream"] == stream
    )


def await_output(client, name: str, text: bytes) -> None:
    client.wait_for(lambda _: text in streamed(client, name), what=f"{text!r} of {name}")


def host_worker(client) -> int:
    """The pid of the only host worker."""
    [pid] = [pid for pid in children(client.zygote) if comm(pid) == "bulkhead host"]
    return pid


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_policy_environment_and_directory(server, home, workspace):
    client = server()
    result = client.request("command/exec", {"command": ["sh", "-c", "echo out; echo err >&2; exit 4"]})
    assert result == {"exitCode": 4, "stdout": "out\n", "stderr": "err\n"}
    touch = {"command": ["touch", str(workspace / "new")]}
    denied = client.request("command/exec", {**touch, "sandboxPolicy": {"type": "readOnly"}})
    assert denied["exitCode"] == 1
    assert "Read-only file system" in denied["stderr"]
    granted = {"type": "workspaceWrite", "excludeSlashTmp": True, "excludeTmpdirEnvVar": True}
    assert client.request("command/exec", {**touch, "sandboxPolicy": granted})["exitCode"] == 0
    assert (workspace / "new").exists()
    (workspace / "new").unlink()
    # Where nobody says, the configured policy holds, as it is now.
    touch = {"command": ["touch", str(workspace / "new")]}
    assert client.request("command/exec", touch)["exitCode"] == 1
    config = home / "config.toml"
    config.write_text('sandbox_mode = "danger-full-access"\n' + config.read_text())
    assert client.request("command/exec", touch)["exitCode"] == 0
    assert client.request("command/exec", {**touch, "permissionProfile": ":read-only"})["exitCode"] == 1
    (workspace / "sub").mkdir()
    script = 'echo "$FOO-${HOME-unset}-$PWD"'
    told = client.request("command/exec", shell(script, env={"FOO": "bar", "HOME": None}, cwd="sub"))
    assert told["stdout"] == f"bar-unset-{workspace}/sub\n"


def test_output_is_cut_and_time_is_up_where_the_client_says(server):
    client = server()
    many = "yes | head -c 3000000"
    assert client.request("command/exec", shell(many, outputBytesCap=5))["stdout"] == "y\ny\ny"
    assert len(client.request("command/exec", shell(many))["stdout"]) == 1024 * 1024
    assert len(client.request("command/exec", shell(many, disableOutputCap=True))["stdout"]) == 3_000_000
    streaming = {"processId": "p", "streamStdoutStderr": True}
    assert client.request("command/exec", shell(many, outputBytesCap=100_000, **streaming)) == {
        "exitCode": 0,
        "stdout": "",
        "stderr": "",
    }
    assert len(streamed(client, "p")) == 100_000
    assert [delta["capReached"] for delta in deltas(client, "p")][-2:] == [False, True]
    assert max(len(line.raw) for line in client.received("command/exec/outputDelta")) < LINE_BYTES
    assert client.request("command/exec", shell("sleep 1000", timeoutMs=50))["exitCode"] == 124
    assert client.request("command/exec", shell("sleep 0.1; echo x", disableTimeout=True))["exitCode"] == 0


def test_a_command_with_pipes(server):
    client = server()
    streams = {"processId": "p", "streamStdin": True, "streamStdoutStderr": True}
    # All at once: a command has its name as soon as it is asked for.
    running = client.start_request("command/exec", shell("cat; echo end >&2", **streams))
    client.start_request("command/exec/write", {"processId": "p", "deltaBase64": encoded("one\n")})
    await_output(client, "p", b"one\n")
    with pytest.raises(RpcError, match='duplicate active command/exec process id: "p"'):
        client.request("command/exec", shell("true", **streams))
    with pytest.raises(RpcError, match="failed to resize PTY"):
        client.request("command/exec/resize", {"processId": "p", "size": {"rows": 1, "cols": 1}})
    client.request(
        "command/exec/write", {"processId": "p", "deltaBase64": encoded("two"), "closeStdin": True}
    )
    assert client.result(running) == {"exitCode": 0, "stdout": "", "stderr": ""}
    assert streamed(client, "p") == b"one\ntwo"
    assert streamed(client, "p", "stderr") == b"end\n"
    last = client.received("command/exec/outputDelta")[-1]
    [answer] = client.received(lambda message: message.get("id") == running)
    assert last.index < answer.index
    with pytest.raises(RpcError, match='no active command/exec for process id "p"'):
        client.request("command/exec/terminate", {"processId": "p"})


def test_a_command_with_a_terminal(server):
    client = server()
    script = "stty -echo; echo ready; while read line; do stty size; done; exit 3"
    running = client.start_request(
        "command/exec", shell(script, processId="t", tty=True, size={"rows": 5, "cols": 70})
    )
    await_output(client, "t", b"ready\r\n")
    client.request("command/exec/write", {"processId": "t", "deltaBase64": encoded("\n")})
    await_output(client, "t", b"5 70\r\n")
    client.request("command/exec/resize", {"processId": "t", "size": {"rows": 40, "cols": 100}})
    client.request("command/exec/write", {"processId": "t", "deltaBase64": encoded("\n")})
    await_output(client, "t", b"40 100\r\n")
    client.request("command/exec/write", {"processId": "t", "closeStdin": True})
    assert client.result(running)["exitCode"] == 3
    # Terminated, whatever it thinks of signals.
    for name, tty, code in (("pipes", False, 137), ("terminal", True, 1)):
        script = "trap '' TERM HUP INT; echo $$; sleep 1000; sleep 1000"
        params = shell(script, processId=name, tty=tty, streamStdoutStderr=True, disableTimeout=True)
        running = client.start_request("command/exec", params)
        await_output(client, name, b"\n")
        doomed = int(streamed(client, name))
        await_ends([doomed], ended=partial(client.request, "command/exec/terminate", {"processId": name}))
        assert client.result(running)["exitCode"] == code


REFUSED = {
    "no command": ({"command": []}, -32600, "command must not be empty"),
    "streaming without a name": (
        shell("true", streamStdin=True),
        -32600,
        "command/exec tty or streaming requires a client-supplied processId",
    ),
    "a size without a terminal": (
        shell("true", size={"rows": 1, "cols": 1}),
        -32602,
        "command/exec size requires tty: true",
    ),
    "a terminal of no size": (
        shell("true", tty=True, processId="p", size={"rows": 0, "cols": 1}),
        -32602,
        "command/exec size rows and cols must be greater than 0",
    ),
    "a negative time-out": (
        shell("true", timeoutMs=-1),
        -32602,
        "command/exec timeoutMs must be non-negative, got -1",
    ),
    "two kinds of time-out": (
        shell("true", timeoutMs=1, disableTimeout=True),
        -32602,
        "command/exec cannot set both timeoutMs and disableTimeout",
    ),
    "two kinds of cap": (
        shell("true", outputBytesCap=1, disableOutputCap=True),
        -32602,
        "command/exec cannot set both outputBytesCap and disableOutputCap",
    ),
    "a negative cap": (
        shell("true", outputBytesCap=-1),
        -32600,
        "Invalid request: invalid value: integer `-1`, expected usize",
    ),
    "no such program": (
        {"command": ["/no/such/program"], **FULL},
        -32603,
        "failed to spawn command: No such file or directory (os error 2)",
    ),
    "no such directory": (
        shell("true", cwd="/no/such/folder"),
        -32603,
        "failed to spawn command: No such file or directory (os error 2)",
    ),
    "an unknown policy": (
        {"command": ["true"], "sandboxPolicy": {"type": "bogus"}},
        -32600,
        (
            "Invalid request: unknown variant `bogus`, expected one of `dangerFullAccess`, `readOnly`, "
            "`externalSandbox`, `workspaceWrite`"
        ),
    ),
    "an unknown profile": (
        {"command": ["true"], "permissionProfile": ":nope"},
        -32600,
        "invalid permission profile: default_permissions refers to unknown built-in profile `:nope`",
    ),
}


def test_refusals_and_many_at_once(server):
    client = server()
    said = {}
    for what, (params, _, _) in REFUSED.items():
        with pytest.raises(RpcError) as refusal:
            client.request("command/exec", params)
        said[what] = refusal.value.code, refusal.value.message
    assert said == {what: (code, text) for what, (_, code, text) in REFUSED.items()}
    # They do not wait for each other either.
    running = [
        client.start_request("command/exec", shell("read x", processId=str(n), streamStdin=True))
        for n in range(20)
    ]
    assert client.request("command/exec", shell("echo quick"))["stdout"] == "quick\n"
    for n in reversed(range(20)):
        client.request("command/exec/write", {"processId": str(n), "deltaBase64": encoded("x\n")})
        assert client.result(running[n])["exitCode"] == 0


def test_a_dead_host_worker_costs_its_requests_and_nothing_else(server, model):
    client = server()
    thread = client.start_thread()
    params = shell("echo $$; sleep 1000", processId="p", streamStdoutStderr=True, disableTimeout=True)
    running = client.start_request("command/exec", params)
    await_output(client, "p", b"\n")
    pid = int(streamed(client, "p"))
    worker = host_worker(client)
    await_ends([worker, pid], ended=lambda: os.kill(worker, signal.SIGKILL))
    with pytest.raises(RpcError, match="the process that served this request ended") as refusal:
        client.result(running)
    assert refusal.value.code == -32603
    assert "were lost" in client.wait_for("warning").params["message"]
    assert client.request("command/exec", shell("echo again"))["stdout"] == "again\n"
    assert client.turn(thread, "!say hello")[-1]["params"]["turn"]["status"] == "completed"


def test_a_client_that_leaves_leaves_no_process(server, marked):
    with runtime_folder() as folder:
        first = server("--listen", "stdio://", "--listen", f"unix://{folder}/socket")
        argv = [sys.executable, "-P", "-m", "supervisor", "app-server", "proxy", "--sock", f"{folder}/socket"]
        with ProtocolClient(argv, env=marked.env, timeout=PATIENCE_S) as second:
            second.initialize()
            script = "setsid sleep 1000 & echo $! $$; sleep 1000"
            params = shell(script, processId="p", streamStdoutStderr=True, disableTimeout=True)
            second.start_request("command/exec", params)
            await_output(second, "p", b"\n")
            pids = [*map(int, streamed(second, "p").split()), host_worker(first)]
            await_ends(pids, ended=second.close)
        # Names are each client's own, and so are the workers.
        with pytest.raises(RpcError, match='no active command/exec for process id "p"'):
            first.request("command/exec/terminate", {"processId": "p"})
        assert not first.received("command/exec/outputDelta")


def test_a_flood_waits_for_the_client_and_holds_up_nobody(server):
    client = server()
    thread = client.start_thread()
    params = shell("yes", processId="p", streamStdoutStderr=True, disableOutputCap=True, disableTimeout=True)
    flood = client.start_request("command/exec", params)
    await_output(client, "p", b"y\n")
    assert client.turn(thread, "!say hello")[-1]["params"]["turn"]["status"] == "completed"
    assert client.request("command/exec", shell("echo quick"))["stdout"] == "quick\n"
    worker = host_worker(client)
    before = resident_kib(worker), resident_kib(client.pid)
    client.stop_reading()
    waiting = client.start_request("command/exec", shell("true"))
    [yes] = [pid for pid in descendants(worker) if comm(pid) == "yes"]
    await_standstill(yes)
    after = resident_kib(worker), resident_kib(client.pid)
    assert after[0] - before[0] < FLOOD_KIB
    assert after[1] - before[1] < FLOOD_KIB
    client.read_again()
    assert client.result(waiting)["exitCode"] == 0
    client.request("command/exec/terminate", {"processId": "p"})
    assert client.result(flood)["exitCode"] == 137


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def await_standstill(pid: int) -> None:
    """Wait until a process that writes all the time has written nothing for a while: its pipe is full."""
    deadline = time.monotonic() + PATIENCE_S
    written, since = -1, time.monotonic()
    while time.monotonic() < deadline:
        now = int(Path(f"/proc/{pid}/io").read_text().split()[3])
        if now != written:
            written, since = now, time.monotonic()
        elif time.monotonic() - since > STANDSTILL_S:
            return
        time.sleep(LOOK_S)
    raise AssertionError("the flood goes on")
