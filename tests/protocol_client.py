"""A client of an app server for tests: synchronous calls, one reader thread, everything recorded in order.

    with ProtocolClient(["bulkhead", "app-server"], cwd=tmp_path, env=env) as client:
        client.initialize()
        thread = client.request("thread/start", {"cwd": str(tmp_path)})["thread"]["id"]
        notifications = client.turn(thread, "hello")

Whatever goes wrong is told together with the last lines exchanged and the server's stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

LINE_LIMIT = 64 * 1024 * 1024  # bytes; a longer line is a failure of the server, not something to buffer
TIMEOUT = 15.0  # seconds; generous, as tests share two cores
SHOWN_LINES = 15  # exchanged lines and stderr lines in a failure
SHOWN_CHARACTERS = 300  # of each

LATER: Any = object()  # what a handler returns to leave a server request open; answer it with `respond`

Match = str | Callable[[dict[str, Any]], bool]


class RpcError(Exception):
    """An error response of the server, or raised by a handler to answer with one."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.data = data


class ClientError(AssertionError):
    """The server did not do in time what the test waited for, went away, or wrote what is no message."""


class Line(msgspec.Struct, frozen=True):
    """One line exchanged. `time` is seconds since the client started; `message` is None where `raw` is no JSON object."""

    index: int
    time: float
    sent: bool
    raw: bytes
    message: dict[str, Any] | None

    @property
    def method(self) -> str | None:
        return self.message.get("method") if self.message else None

    @property
    def params(self) -> dict[str, Any]:
        assert self.message is not None
        return self.message.get("params") or {}


Handler = Callable[[str, dict[str, Any]], Any]


class ProtocolClient:
    """Starts `argv` and speaks JSON lines with it.

    `handler(method, params)` answers requests of the server, on the reader thread: it returns the result, raises
    RpcError, or returns LATER. Without one every server request stays open until `respond`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        handler: Handler | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self.handler = handler
        self.timeout = timeout
        self.lines: list[Line] = []
        self._changed = threading.Condition()
        self._write_lock = threading.Lock()
        self._next_id = 1
        self._ended = False
        self._broken: str | None = None
        self._start = time.monotonic()
        # An unlinked file: nothing to clean up, and a chatty server cannot block on it as it could on a pipe.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the client
        self._process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._reader = threading.Thread(target=self._read, name="protocol-client", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def pipes(self) -> tuple[int, int]:
        """Our ends of the server's input and output, as descriptors."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin.fileno(), self._process.stdout.fileno()

    @property
    def stderr(self) -> str:
        """Everything the server has written to stderr so far."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode("utf-8", "replace")

    # --- sending -----------------------------------------------------------------------------------------------

    def send_raw(self, data: bytes) -> None:
        """Writes bytes as they are; the newline is the caller's."""
        self._record(data, sent=True)
        assert self._process.stdin is not None
        try:
            with self._write_lock:
                self._process.stdin.write(data)
                self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failure("the server no longer reads") from error

    def send(self, message: Mapping[str, Any]) -> None:
        self.send_raw(json.dumps(message).encode() + b"\n")

    def notify(self, method: str, params: Any = None) -> None:
        self.send({"method": method} if params is None else {"method": method, "params": params})

    def respond(self, request_id: int | str, result: Any) -> None:
        """Answers a server request that is still open."""
        self.send({"id": request_id, "result": result})

    def respond_error(self, request_id: int | str, error: RpcError) -> None:
        body = {"code": error.code, "message": error.message}
        self.send({"id": request_id, "error": body if error.data is None else {**body, "data": error.data}})

    def start_request(self, method: str, params: Any = None) -> int:
        """Sends a request without waiting; `result` takes the returned id. No `params` key when params is None."""
        request_id, self._next_id = self._next_id, self._next_id + 1
        message = {"id": request_id, "method": method}
        self.send(message if params is None else {**message, "params": params})
        return request_id

    def result(self, request_id: int | str, timeout: float | None = None, *, since: int = 0) -> Any:
        """Waits for the response to a request. Raises RpcError when it is an error."""
        line = self.wait_for(
            lambda message: "method" not in message and message.get("id") == request_id,
            timeout,
            since=since,
            what=f"the response to request {request_id!r}",
        )
        assert line.message is not None
        if "error" in line.message:
            error = line.message["error"]
            raise RpcError(error["code"], error["message"], error.get("data"))
        return line.message["result"]

    def request(self, method: str, params: Any = None, timeout: float | None = None) -> Any:
        """The result of a request. Raises RpcError."""
        return self.result(self.start_request(method, params), timeout)

    def initialize(self, name: str = "tests", **capabilities: Any) -> dict[str, Any]:
        """The handshake; keyword arguments become capabilities, e.g. `experimentalApi=True`."""
        info = {"name": name, "title": "Tests", "version": "1.0.0"}
        result = self.request("initialize", {"clientInfo": info, "capabilities": capabilities})
        self.notify("initialized")
        assert isinstance(result, dict)
        return result

    # --- receiving ---------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """The index of the next line, for `since`."""
        with self._changed:
            return len(self.lines)

    def received(self, match: Match | None = None, *, since: int = 0) -> list[Line]:
        """The server's messages from `since` on, those of one method or of a predicate."""
        with self._changed:
            return [line for line in self.lines[since:] if not line.sent and _matches(line, match)]

    def wait_for(self, match: Match, timeout: float | None = None, *, since: int = 0, what: str = "") -> Line:
        """The first message of the server at or after `since` with this method, or that satisfies a predicate.

        Raises ClientError when it does not come within `timeout` seconds, or can no longer come.
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        what = what or (match if isinstance(match, str) else "a matching message")
        position = since
        with self._changed:
            while True:
                for line in self.lines[position:]:
                    if not line.sent and _matches(line, match):
                        return line
                position = max(position, len(self.lines))
                if self._broken:
                    raise self._failure(self._broken)
                if self._ended:
                    raise self._failure(f"the server ended before {what} came")
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise self._failure(f"{what} did not come in time")

    def turn(
        self, thread_id: str, text: str, timeout: float | None = None, **params: Any
    ) -> list[dict[str, Any]]:
        """Runs one turn; returns the notifications from its start request on, `turn/completed` the last of them."""
        since = self.mark()
        started = self.request(
            "turn/start",
            {"threadId": thread_id, "input": [{"type": "text", "text": text}], **params},
            timeout,
        )
        turn_id = started["turn"]["id"]
        end = self.wait_for(
            lambda message: (
                message.get("method") == "turn/completed" and message["params"]["turn"]["id"] == turn_id
            ),
            timeout,
            since=since,
            what=f"the end of turn {turn_id}",
        )
        return [
            line.message
            for line in self.received(since=since)
            if line.message
            and "method" in line.message
            and "id" not in line.message
            and line.index <= end.index
        ]

    # --- the end -----------------------------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> int:
        """Ends the input and returns the exit code. Kills a server that stays, by its pid, and fails then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wait = self.timeout if timeout is None else timeout
        with contextlib.suppress(BrokenPipeError):  # it went first; its exit code tells
            self._process.stdin.close()
        try:
            code = self._process.wait(wait)
        except subprocess.TimeoutExpired:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise self._failure(
                f"the server was still running {wait:g} s after the end of its input"
            ) from None
        finally:
            self._reader.join(wait)
            left_open = self._reader.is_alive()
            if not left_open:
                self._process.stdout.close()
        if left_open:
            raise self._failure("the server left a process behind that holds its stdout")
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except ClientError as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        else:
            if error is not None and not isinstance(error, ClientError):
                error.add_note(self._story())
        finally:
            self._stderr.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.readline(LINE_LIMIT + 1):
            if len(data) > LINE_LIMIT:
                self._end(f"the server wrote a line of more than {LINE_LIMIT} bytes")
                return
            line = self._record(data, sent=False)
            if line.message is None:
                self._end("the server wrote a line that is no JSON object")
                return
            if self.handler and "method" in line.message and "id" in line.message:
                self._answer(self.handler, line.message)
        self._end(None)

    def _answer(self, handler: Handler, message: dict[str, Any]) -> None:
        try:
            result = handler(message["method"], message.get("params") or {})
            if result is not LATER:
                self.respond(message["id"], result)
        except RpcError as error:
            self.respond_error(message["id"], error)
        except Exception as error:  # noqa: BLE001 - told to the waiting test instead of dying with the thread
            self._broken = f"the handler failed on {message['method']}: {error!r}"

    def _end(self, broken: str | None) -> None:
        with self._changed:
            self._broken = self._broken or broken
            self._ended = True
            self._changed.notify_all()

    def _record(self, data: bytes, *, sent: bool) -> Line:
        try:
            message = json.loads(data)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            message = None
        with self._changed:
            line = Line(len(self.lines), time.monotonic() - self._start, sent, data, message)
            self.lines.append(line)
            self._changed.notify_all()
        return line

    def _failure(self, reason: str) -> ClientError:
        return ClientError(f"{reason}\n{self._story()}")

    def _story(self) -> str:
        told = [
            f"  {'->' if line.sent else '<-'} {_cut(line.raw.decode('utf-8', 'replace'))}"
            for line in self.lines
        ]
        errors = [f"  {_cut(text)}" for text in self.stderr.splitlines()]
        return "\n".join(["last lines:", *told[-SHOWN_LINES:], "stderr:", *errors[-SHOWN_LINES:]])


def _matches(line: Line, match: Match | None) -> bool:
    if line.message is None:
        return False
    if match is None:
        return True
    return line.method == match if isinstance(match, str) else match(line.message)


def _cut(text: str) -> str:
    text = text.rstrip("\n")
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
