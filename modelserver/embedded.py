"""A scripted model in a child process, for tests and demos.

    with scripted_model() as model:
        run_a_client(model.url)             # http://127.0.0.1:PORT/v1
        model.requests()[0].body["input"]

The child ends with the context, and also when the parent dies without a chance to end it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from modelserver.errors import ModelServerError, StartError

__all__ = ["LoggedRequest", "ModelServer", "scripted_model"]

END_SECONDS = 10.0
"""How long a child may take to end before it is killed; it takes a fraction of a second."""
WAIT_SECONDS = 30.0
"""How long `wait_for` waits unless told otherwise: longer than any machine needs, so it never decides."""
_HTTP_SECONDS = 70.0
_POLL_SECONDS = 20.0


class LoggedRequest(msgspec.Struct, frozen=True):
    """A request as the server saw it; see `modelserver.journal.Entry`."""

    n: int
    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    state: str
    status: int | None


class _Page(msgspec.Struct):
    version: int
    total: int
    requests: list[LoggedRequest]


class _Announcement(msgspec.Struct):
    url: str


class ModelServer:
    """A running server. `url` is the base URL for clients and ends in /v1."""

    def __init__(self, *, log_level: str = "warning") -> None:
        """Start the child and wait until it listens. Raises StartError when it does not."""
        room = str(Path(__file__).resolve().parents[1])
        paths = [room, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "modelserver", "--end-with-stdin", "--log-level", log_level],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        try:
            self.url = msgspec.json.decode(line, type=_Announcement).url
        except msgspec.DecodeError:
            self.stop()
            raise StartError(
                f"the scripted model did not start (exit code {self.process.returncode})"
            ) from None

    @property
    def pid(self) -> int:
        return self.process.pid

    def requests(self) -> list[LoggedRequest]:
        """Get the requests since the start or the last `clear`, oldest first."""
        return self._log(-1, 0.0).requests

    def clear(self) -> None:
        """Forget the requests so far."""
        self._ask("DELETE", "/log")

    def health(self) -> dict[str, Any]:
        """`{"status": "ok", "requests": total, "streams": answers under way}`."""
        return msgspec.json.decode(self._ask("GET", "/health"), type=dict[str, Any])

    def wait_for(
        self, condition: Callable[[list[LoggedRequest]], object], *, timeout: float = WAIT_SECONDS
    ) -> list[LoggedRequest]:
        """Wait until the requests meet the condition, and return them; TimeoutError when they never do.

        It waits for news from the server and does not poll: a request that arrives, an answer that begins or ends.
        """
        deadline = time.monotonic() + timeout
        version = -1
        while True:
            left = deadline - time.monotonic()
            page = self._log(version, min(max(left, 0.0), _POLL_SECONDS))
            if condition(page.requests):
                return page.requests
            if left <= 0:
                raise TimeoutError(f"not met by {len(page.requests)} requests within {timeout:g} s")
            version = page.version

    def stop(self) -> int:
        """End the child, at the latest by force, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        # Not earlier: the end of its standard input is a second signal, which would meet it while it ends.
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return self.process.wait()

    def _log(self, since: int, timeout: float) -> _Page:
        raw = self._ask("GET", f"/log?since={since}&timeout={timeout:.3f}")
        return msgspec.json.decode(raw, type=_Page)

    def _ask(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_HTTP_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        if answer.status >= 400:
            raise ModelServerError(f"{method} {path}: {answer.status} {body.decode(errors='replace')}")
        return body


@contextlib.contextmanager
def scripted_model(*, log_level: str = "warning") -> Iterator[ModelServer]:
    """Run a scripted model for the length of a `with` block."""
    server = ModelServer(log_level=log_level)
    try:
        yield server
    finally:
        server.stop()
