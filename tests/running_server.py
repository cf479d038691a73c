"""The real server as a child process, with what tests of supervision need to see and do beside the protocol."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from protocol_client import Handler, Line, ProtocolClient

from supervisor.control import ask
from supervisor.runtime import ServerRecord

ROOT = Path(__file__).resolve().parents[1]
MARK = "BULKHEAD_TEST_MARK"
"""In the environment of the server, and so of all that comes of it: workers, zygotes, commands."""
LOOK_S = 0.005
PATIENCE_S = 30.0
"""How long anything that must come may take; it decides only on a machine that has stopped."""


class Marked:
    """An environment that marks all processes it is given to."""

    def __init__(self, home: Path, runtime: Path) -> None:
        self.runtime = runtime
        self._line = f"{MARK}={uuid.uuid4().hex}"
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith(("CODEX", "BULKHEAD"))
        }
        self.env |= {
            "BULKHEAD_HOME": str(home),
            # Commands run in login shells: nobody's profile may have a say in what they print, or hang.
            "HOME": str(home),
            "BULKHEAD_RUNTIME_DIR": str(runtime),
            "BULKHEAD_LOG": "info",
            "PYTHONPATH": str(ROOT),
            MARK: self._line.partition("=")[2],
        }

    def processes(self) -> set[int]:
        """All live processes that have the mark."""
        mark = self._line.encode()
        found = set()
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                        found.add(int(name))
        return found

    def end(self) -> set[int]:
        """Kill what is left; the pids."""
        left = self.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await_ends(left)
        return left


class RunningServer(ProtocolClient):
    """A server with its first client. Made by the fixture `server`, which also ends it."""

    def __init__(
        self,
        *arguments: str,
        marked: Marked,
        cwd: Path,
        handler: Handler | None = None,
        timeout: float = PATIENCE_S,
    ) -> None:
        self._readable = threading.Event()
        self._readable.set()
        self.since = 0
        """Where the lines of a test begin that shares the server with others."""
        self.marked = marked
        self.cwd = cwd
        super().__init__(
            [sys.executable, "-P", "-m", "supervisor", "app-server", *arguments],
            cwd=cwd,
            env=marked.env,
            handler=handler,
            timeout=timeout,
        )

    # --- a client that does not read ------------------------------------------------------------------------

    def stop_reading(self) -> None:
        """From the next line on."""
        self._readable.clear()

    def read_again(self) -> None:
        self._readable.set()

    def _record(self, data: bytes, *, sent: bool) -> Any:
        line = super()._record(data, sent=sent)
        if not sent:
            self._readable.wait()
        return line

    def close(self, timeout: float | None = None) -> int:
        self.read_again()
        return super().close(timeout)

    # --- threads and turns -------------------------------------------------------------------------------------

    def start_thread(self, **params: Any) -> str:
        """A new thread without a sandbox unless told otherwise; its id."""
        given = {"cwd": str(self.cwd), "sandbox": "danger-full-access", "approvalPolicy": "never", **params}
        return str(self.request("thread/start", given)["thread"]["id"])

    def begin_turn(self, thread: str, text: str) -> str:
        """Start a turn and return its id as soon as it is accepted."""
        return str(self.result(self.send_turn(thread, text))["turn"]["id"])

    def send_turn(self, thread: str, text: str) -> int:
        """Send turn/start without waiting; the id of the request."""
        return self.start_request(
            "turn/start", {"threadId": thread, "input": [{"type": "text", "text": text}]}
        )

    def end_of(self, turn: str, *, since: int = 0) -> dict[str, Any]:
        """Wait for the turn of `turn/completed`."""
        line = self.wait_for(
            lambda m: m.get("method") == "turn/completed" and m["params"]["turn"]["id"] == turn,
            since=since,
            what=f"the end of turn {turn}",
        )
        result = line.params["turn"]
        assert isinstance(result, dict)
        return result

    def first_delta(self, thread: str, *, since: int = 0) -> None:
        """Wait until the thread's model has said something."""
        self.wait_for(
            lambda m: m.get("method") == "item/agentMessage/delta" and m["params"]["threadId"] == thread,
            since=since,
            what=f"the first delta of thread {thread}",
        )

    def each(self) -> Iterator[Line]:
        """All lines of both directions from the beginning, waiting for more. Stop when you have seen enough."""
        position = 0
        while True:
            with self._changed:
                if position == len(self.lines):
                    self.wait_for(lambda _: True, since=position, what="another line")
                batch = self.lines[position:]
            position += len(batch)
            yield from batch

    def ends_of(self, turn: str) -> list[dict[str, Any]]:
        return [
            line.params["turn"]
            for line in self.received("turn/completed")
            if line.params["turn"]["id"] == turn
        ]

    # --- operators ------------------------------------------------------------------------------------------------

    @property
    def record(self) -> ServerRecord:
        """Itself, as operators find it."""
        for file in self.marked.runtime.glob("*/server.json"):
            record = msgspec.json.decode(file.read_bytes(), type=ServerRecord)
            if record.pid == self.pid:
                record.directory = str(file.parent)
                return record
        raise AssertionError(f"no server {self.pid} in {self.marked.runtime}")

    def operate(self, operation: str, **params: Any) -> Any:
        """One operator's command, over the control socket."""
        return ask(self.record, operation, params)

    def row(self, thread: str) -> dict[str, Any]:
        """The thread in `ps`."""
        [row] = [row for row in self.operate("ps")["threads"] if row["thread"] == thread]
        assert isinstance(row, dict)
        return row

    def await_row(self, thread: str, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Look at the thread until `condition` holds of its row."""
        deadline = time.monotonic() + self.timeout
        while not condition(row := self.row(thread)):
            assert time.monotonic() < deadline, f"the row stays {row}"
            time.sleep(LOOK_S)
        return row

    def worker(self, thread: str) -> int:
        """The pid of the thread's worker, once it has one."""
        return int(self.await_row(thread, lambda row: row["pid"])["pid"])

    @property
    def zygote(self) -> int:
        """The pid of the zygote: the child that has its name, or none of ours yet."""
        [pid] = [
            pid
            for pid in children(self.pid)
            if _name(pid) == "bulkhead-zygote" or not _name(pid).startswith("bulkhead")
        ]
        return pid

    def parked(self) -> list[int]:
        """The pids of the workers that wait for a thread."""
        return [pid for pid in children(self.zygote) if _name(pid).startswith("bulkhead-parked")]

    def kill_worker(self, thread: str, number: int = signal.SIGKILL) -> int:
        pid = self.worker(thread)
        os.kill(pid, number)
        return pid

    def kill_all_but_commands(self) -> None:
        """Kill all of the server's processes at once, so that nobody is left to clean up after the others."""
        # Who could still give birth is stopped first: a worker born after the count would be missed.
        breeders = [self.pid, self.zygote]
        for pid in breeders:
            os.kill(pid, signal.SIGSTOP)
            await_state(pid, "T")
        doomed = [*breeders, *children(breeders[1])]
        for pid in doomed:
            os.kill(pid, signal.SIGSTOP)

        def kill() -> None:
            for pid in doomed:
                os.kill(pid, signal.SIGKILL)

        await_ends(doomed, ended=kill)


def state_of(pid: int) -> str:
    """The state letter of a process, as `ps` shows it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def await_state(pid: int, states: str) -> None:
    """Returns when it is in one of these, each a letter. Raises OSError if it is gone."""
    deadline = time.monotonic() + PATIENCE_S
    while state_of(pid) not in states:
        assert time.monotonic() < deadline, f"{pid} is not in a state of {states}"
        time.sleep(LOOK_S)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "bulkhead, gone"


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def resident_kib(pid: int) -> int:
    """What of a process is in memory now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"process {pid} is gone")


def await_ends(
    pids: Iterable[int], timeout: float = PATIENCE_S, ended: Callable[[], object] = lambda: None
) -> None:
    """Wait on a pidfd for each; `ended` is called when all are open, and is to cause the ends."""
    waiting = select.poll()
    names: dict[int, int] = {}
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                names[fd] = pid
                waiting.register(fd, select.POLLIN)
        ended()
        deadline = time.monotonic() + timeout
        while names:
            left = deadline - time.monotonic()
            gone = waiting.poll(max(left, 0) * 1000)
            assert gone, f"still there: {[(pid, command_line(pid)) for pid in names.values()]}"
            for fd, _ in gone:
                waiting.unregister(fd)
                os.close(fd)
                del names[fd]
    finally:
        for fd in names:
            os.close(fd)


@contextlib.contextmanager
def runtime_folder() -> Any:
    """A folder with a short path: sockets lie in it, and theirs may have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="bh-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_config(home: Path, url: str, extra: Mapping[str, str] | None = None) -> None:
    """A config.toml whose only provider is the scripted model at `url`."""
    lines = [
        'model = "gpt-6.1-sol"',
        'model_provider = "scripted"',
        *(f"{key} = {value}" for key, value in (extra or {}).items()),
        "[model_providers.scripted]",
        'name = "Scripted model"',
        f'base_url = "{url}"',
        'wire_api = "responses"',
        "requires_openai_auth = false",
        "request_max_retries = 0",
        "stream_max_retries = 0",
    ]
    (home / "config.toml").write_text("\n".join(lines) + "\n")
