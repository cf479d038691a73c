"""A server under load: the real one as a child process with a scripted model, and one client that checks all it hears.

Every turn is followed from its request to its end: accepted once, words in order and none twice, ended once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from modelserver.embedded import ModelServer, scripted_model
from sandbox_backends.scheduling import be_prompt
from supervisor.control import ask
from supervisor.runtime import ServerRecord

ROOT = Path(__file__).resolve().parents[1]
CHUNK_BYTES = 65536
UNCHECKED_CHUNKS = 4096
"""So much may have been read and not checked yet; then the client reads no more, as a slow one."""
MODEL_NICE = 10
"""The model is no part of what is measured: elsewhere it would have cores of its own."""
END_S = 30.0
SWITCH_S = 0.0005
"""The reader waits no longer than this for the interpreter, whatever is checked meanwhile."""
decode = msgspec.json.Decoder().decode


class BrokenPromise(AssertionError):
    """The server did what it must never do; the text names the turn."""


@dataclass
class Turn:
    """Times are seconds of the monotonic clock."""

    thread: str
    asked_at: float
    words: int | None
    """How many words its model says, if that is to be checked."""
    ended: asyncio.Future[str]
    id: str = ""
    accepted_at: float = 0.0
    first_word_at: float = 0.0
    ended_at: float = 0.0
    status: str = ""
    error: str = ""
    said: list[str] = field(default_factory=list)


class StressServer:
    """`async with StressServer("-c", "bulkhead.parked_workers=8") as server`. Its `turns` are all that were begun."""

    def __init__(self, *arguments: str, home: Path | None = None) -> None:
        self._arguments = arguments
        self._folder = Path(tempfile.mkdtemp(prefix="bh-stress-"))
        self.home = home or self._folder / "home"
        self.workspace = self._folder / "work"
        self.turns: list[Turn] = []
        self.readable = threading.Event()
        """Cleared, the client does not read."""
        self.readable.set()
        self._unchecked = threading.Semaphore(UNCHECKED_CHUNKS)
        self._torn = b""
        self._by_id: dict[str, Turn] = {}
        self._ids = itertools.count(1)
        self._replies: dict[int, tuple[asyncio.Future[Any], Turn | None]] = {}
        self._model: ModelServer | None = None
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()

    async def __aenter__(self) -> Self:
        be_prompt()  # what is measured is when it is said, not when this process gets to read it
        for folder in (self.home, self.workspace, self._folder / "run"):
            folder.mkdir(exist_ok=True)
        self._context = scripted_model()
        self._model = self._context.__enter__()
        os.setpriority(os.PRIO_PROCESS, self._model.pid, MODEL_NICE)
        (self.home / "config.toml").write_text(
            'model = "scripted"\nmodel_provider = "scripted"\n[model_providers.scripted]\nname = "Scripted"\n'
            f'base_url = "{self._model.url}"\nwire_api = "responses"\nrequires_openai_auth = false\n'
            "request_max_retries = 0\nstream_max_retries = 0\n"
        )
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CODEX", "BULKHEAD"))}
        environment |= {
            "BULKHEAD_HOME": str(self.home),
            "BULKHEAD_RUNTIME_DIR": str(self._folder / "run"),
            "BULKHEAD_LOG": "error",
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
        }
        said, says = os.pipe()
        with open(self._folder / "stderr", "wb") as errors:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "supervisor",
                "app-server",
                *self._arguments,
                cwd=self.workspace,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=says,
                # Kernels with automatic groups share the processors between sessions: a client has its own elsewhere.
                start_new_session=True,
                stderr=errors,
            )
        os.close(says)
        sys.setswitchinterval(SWITCH_S)
        self._reading = threading.Thread(target=self._read, args=(said,), daemon=True)
        self._reading.start()
        await self.request(
            "initialize",
            {
                "clientInfo": {"name": "stress", "version": "1"},
                "capabilities": {"experimentalApi": True},
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.readable.set()
        assert self.process.stdin is not None
        self.process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), END_S)
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()
        await self._loop.run_in_executor(None, self._reading.join, END_S)
        self._context.__exit__(None, None, None)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def errors(self) -> str:
        return (self._folder / "stderr").read_text(errors="replace")

    def operate(self, operation: str, **params: Any) -> Any:
        """An operator's command; blocks."""
        [file] = (self._folder / "run").glob("*/server.json")
        record = json.loads(file.read_bytes())
        return ask(ServerRecord(**record | {"directory": str(file.parent)}), operation, params)

    async def request(self, method: str, params: dict[str, Any]) -> Any:
        return await self._send(method, params, None)

    async def start_thread(self) -> str:
        params = {"cwd": str(self.workspace), "sandbox": "danger-full-access", "approvalPolicy": "never"}
        return str((await self.request("thread/start", params))["thread"]["id"])

    def begin(self, thread: str, script: str, words: int | None = None) -> Turn:
        """Ask for a turn; `turn.ended` is done with its status, or `refused`."""
        loop = asyncio.get_running_loop()
        turn = Turn(thread, time.monotonic(), words, loop.create_future())
        self.turns.append(turn)
        params = {"threadId": thread, "input": [{"type": "text", "text": script}]}
        reply = self._send("turn/start", params, turn)

        def refused(done: asyncio.Future[Any]) -> None:
            if not done.cancelled() and done.exception() is not None and not turn.ended.done():
                turn.status, turn.error = "refused", str(done.exception())
                turn.ended_at = time.monotonic()
                turn.ended.set_result("refused")

        reply.add_done_callback(refused)
        return turn

    def _send(self, method: str, params: dict[str, Any], turn: Turn | None) -> asyncio.Future[Any]:
        number = next(self._ids)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._replies[number] = (reply, turn)
        assert self.process.stdin is not None
        self.process.stdin.write(
            json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n"
        )
        return reply

    def _read(self, fd: int) -> None:
        """Take what the server says as soon as it says it, whatever this client's own loop is busy with."""
        be_prompt()
        with open(fd, "rb", buffering=0) as said:
            while self.readable.wait() and (chunk := said.read(CHUNK_BYTES)):
                read_at = time.monotonic()
                self._unchecked.acquire()
                self._loop.call_soon_threadsafe(self._check_chunk, chunk, read_at)

    def _check_chunk(self, chunk: bytes, read_at: float) -> None:
        self._unchecked.release()
        if self._broken.done():
            return
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        try:
            for line in lines:
                message = decode(line)
                if "method" in message:
                    self._notified(message["method"], message["params"], read_at)
                else:
                    self._replied(message, read_at)
        except Exception as error:  # noqa: BLE001 - told to who waits
            self._broken.set_exception(error)

    def _replied(self, message: dict[str, Any], read_at: float) -> None:
        reply, turn = self._replies.pop(message["id"])
        if "error" in message:
            reply.set_exception(RuntimeError(f"{message['error']['code']}: {message['error']['message']}"))
            reply.exception()
            return
        if turn is not None:
            turn.id = message["result"]["turn"]["id"]
            if turn.id in self._by_id:
                raise BrokenPromise(f"turn {turn.id} was accepted twice")
            turn.accepted_at = read_at
            self._by_id[turn.id] = turn
        reply.set_result(message["result"])

    def _notified(self, method: str, params: dict[str, Any], read_at: float) -> None:
        if method == "item/agentMessage/delta":
            turn = self._turn(params["turnId"], method)
            turn.first_word_at = turn.first_word_at or read_at
            turn.said.append(params["delta"])
        elif method == "turn/completed":
            turn = self._turn(params["turn"]["id"], method)
            turn.status = params["turn"]["status"]
            turn.error = (params["turn"]["error"] or {}).get("message", "")
            turn.ended_at = read_at
            self._check(turn)
            turn.said.clear()
            turn.ended.set_result(turn.status)

    def _turn(self, identity: str, method: str) -> Turn:
        turn = self._by_id.get(identity)
        if turn is None:
            raise BrokenPromise(f"{method} of turn {identity}, which was never accepted")
        if turn.status:
            raise BrokenPromise(f"{method} of turn {identity} after its end ({turn.status})")
        return turn

    @staticmethod
    def _check(turn: Turn) -> None:
        if turn.words is None:
            return
        said = "".join(turn.said)
        expected = " ".join(f"w{number:04d}" for number in range(1, turn.words + 1))
        whole = said == expected if turn.status == "completed" else expected.startswith(said)
        if not whole:
            raise BrokenPromise(
                f"turn {turn.id} ({turn.status}) said {said[-80:]!r}, which is not {turn.words} words"
            )

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for something; whether it came. Raises what the reader found broken."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self._broken.done():
                self._broken.result()
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def descendants(pid: int) -> set[int]:
    """All processes below one."""
    found: set[int] = set()
    queue = [pid]
    while queue:
        for task in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            with suppress(OSError):
                below = set(map(int, task.read_text().split())) - found
                found |= below
                queue += below
    return found


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
