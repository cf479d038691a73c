"""Replays the client's side of a recording against a live server.

A client line goes out when everything that the recording shows before it has come in, deliberate pauses of the
recorded client included. Ids, cursors and paths of the recording are replaced by those of the live run, learnt
from the messages both have in common.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trace_browser import Browser
from trace_line import (
    OUTPUT_DELTA,
    Difference,
    Line,
    delta_item,
    is_delta,
    message_key,
    method_of_request,
    parse,
)
from trace_names import Names

# A recorded client that waited longer than this did so on purpose (threads of different seconds, a running command).
DELIBERATE_PAUSE = 0.25  # seconds
LONGEST_PAUSE = 1.5  # seconds; the recorder's own time-outs of 15 s need no repetition
SETTLING_TIME = 0.3  # seconds after the last expected line in which an unexpected one may still come
EXIT_TIME = 20.0  # seconds from the end of input to the end of the process


class Server:
    """An app server under test, as a child process; its stderr goes to `log`."""

    def __init__(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> None:
        self.lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                argv, cwd=cwd, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def send(self, line: bytes) -> bool:
        """False when the server no longer reads."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def finish(self) -> int | None:
        """Ends the input and returns the exit code, None when the process had to be killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        code: int | None
        try:
            code = self._process.wait(EXIT_TIME)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = None
        # A background command of the server may hold the pipe's other end for as long as it likes.
        self._reader.join(1)
        if not self._reader.is_alive():
            self._process.stdout.close()
        return code


class Replay:
    """One recording against one server. `live` is the conversation so far, `problems` what no message shows."""

    def __init__(self, recorded: Sequence[Line], server: Server, names: Names, patience: float) -> None:
        self.live: list[Line] = []
        self.problems: list[Difference] = []
        self._recorded = recorded
        self._server = server
        self._names = names
        self._browser = Browser()
        self._patience = patience
        self._expected = Tally()
        self._arrived = Tally()
        self._written_off: Counter[str] = Counter()
        self._learnt: Counter[str] = Counter()
        self._ended = False
        self._start = time.monotonic()

    def run(self) -> None:
        """Plays the recording to its end, closes the server's input and waits for its exit."""
        asked: list[Any] = []  # recorded ids of server requests the client has not answered yet
        before = 0.0
        for line in self._recorded:
            message = line.message
            if line.direction == "s2c" and isinstance(message, dict):
                self._expected.add(message)
                if "method" in message and "id" in message:
                    asked.append(message["id"])
            elif line.direction == "c2s":
                self._await_expected(f"before sending {_label(line)}")
                pause = line.time - before
                if pause >= DELIBERATE_PAUSE:
                    self._pump(time.monotonic() + min(pause, LONGEST_PAUSE))
                if not self._send(line, asked):
                    break
            elif line.direction == "meta" and "GET" in line.message:
                self._await_expected(f"before {line.message['GET']}")
                self.problems += self._browser.visit(line.message)
            if line.direction != "stderr":
                before = line.time
        self._await_expected("at the end")
        self._pump(time.monotonic() + SETTLING_TIME)
        self._finish()

    def _finish(self) -> None:
        if self._ended:
            self._problem("exit", "running to the end", "the server closed its output early")
        code = self._server.finish()
        self._pump(time.monotonic() + SETTLING_TIME)
        exits = [
            line.message.get("rc")
            for line in self._recorded
            if line.direction == "meta" and line.message.get("event") == "exit"
        ]
        if exits and code != exits[-1]:
            self._problem("exit", f"exit code {exits[-1]}", "killed" if code is None else f"exit code {code}")

    def _send(self, line: Line, asked: list[Any]) -> bool:
        message = line.message
        if line.raw is not None:
            data = self._names.text(line.raw).encode()
            message = parse(data.decode())
        else:
            message = self._names.rewrite(message)
            if "method" not in message and message.get("id") in asked:
                asked.remove(message["id"])
                message["id"] = self._names.request_id(message["id"])
                if message["id"] is None:
                    return True  # the request never came, which has been reported
            data = json.dumps(message).encode()
        self.live.append(Line(self._now(), "c2s", message))
        return self._server.send(data)

    def _await_expected(self, when: str) -> None:
        deadline = time.monotonic() + self._patience
        while missing := self._missing():
            if self._ended or time.monotonic() >= deadline:
                # Waited for once: later lines do not wait for it again.
                self._written_off.update(missing)
                listed = ", ".join(
                    f"{key} (x{count})" if count > 1 else key for key, count in missing.items()
                )
                self._problem("timeout", listed, f"not there {when}")
                return
            self._receive(deadline)

    def _missing(self) -> Counter[str]:
        return self._expected.counts - self._arrived.counts - self._written_off

    def _pump(self, until: float) -> None:
        while not self._ended and time.monotonic() < until:
            self._receive(until)

    def _receive(self, deadline: float) -> None:
        try:
            data = self._server.lines.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            return
        if data is None:
            self._ended = True
            return
        text = data.decode("utf-8", "replace").rstrip("\n")
        message = parse(text)
        self.live.append(Line(self._now(), "s2c", message, text))
        if isinstance(message, dict):
            self._arrived.add(message)
            self._learn(message)

    def _learn(self, message: dict[str, Any]) -> None:
        """Pairs the message with the recorded one of the same key and number."""
        key = message_key(message)
        number, self._learnt[key] = self._learnt[key], self._learnt[key] + 1
        for line in self._recorded:
            if (
                line.direction == "s2c"
                and isinstance(line.message, dict)
                and message_key(line.message) == key
            ):
                if number == 0:
                    self._names.learn(line.message, message)
                    self._browser.learn(line.message, message)
                    return
                number -= 1

    def _problem(self, kind: str, recorded: str, live: str) -> None:
        self.problems.append(Difference("the run", "", "", kind, recorded, live))

    def _now(self) -> float:
        return time.monotonic() - self._start


class Tally:
    """Counts messages by key; all deltas of one item count once, output deltas not at all."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._items: set[tuple[str, str]] = set()

    def add(self, message: dict[str, Any]) -> None:
        if message.get("method") == OUTPUT_DELTA:
            return
        if is_delta(message):
            if delta_item(message) in self._items:
                return
            self._items.add(delta_item(message))
        self.counts[message_key(message)] += 1


def _label(line: Line) -> str:
    method = method_of_request(line.message)
    if method:
        return f"{method} (id {json.dumps(line.message['id'])})"
    return (line.raw or json.dumps(line.message))[:60]
