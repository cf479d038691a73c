"""The course of the demo: threads are opened, work, one loses its worker, and all come to their end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from demo_client import Client, Message
from demo_screen import BOLD, RED, Screen
from demo_story import Story
from demo_surroundings import Surroundings
from demo_thread import DemoThread

from supervisor.control import ask
from supervisor.runtime import running_servers

LOOK_S = 0.05  # how often `ps` is asked and the screen drawn
UP_S = 30.0  # for a server to come up on a slow machine; it takes a second


class DemoFailedError(RuntimeError):
    """It cannot go on; the text says why."""


class Run:
    def __init__(
        self, client: Client, screen: Screen, places: Surroundings, stories: Iterable[Story], patience: float
    ) -> None:
        self.threads = [DemoThread(story, places.repository(story)) for story in stories]
        self.victim = self.threads[-1]
        self.killed_at = 0.0
        self.killed_pid = 0
        self.streaming = 0
        """Other threads that were in the middle of their answers at the moment of the kill."""
        self.history: list[dict[str, Any]] = []
        """The victim's turns as `thread/read` tells them at the end."""
        self._client = client
        self._screen = screen
        self._patience = patience
        self._by_id: dict[str, DemoThread] = {}
        self._answers: dict[int, Message] = {}
        self._looked = 0.0

    @property
    def others(self) -> list[DemoThread]:
        return [thread for thread in self.threads if thread is not self.victim]

    # --- the course ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        info = {"name": "bulkhead-demo", "title": "Bulkhead demo", "version": "1"}
        self._ask_all([("initialize", {"clientInfo": info})])
        self._client.send({"method": "initialized"})
        answers = self._ask_all([("thread/start", {"cwd": str(thread.folder)}) for thread in self.threads])
        for thread, answer in zip(self.threads, answers, strict=True):
            thread.id = answer["thread"]["id"]
            self._by_id[thread.id] = thread

    def first_turns(self) -> None:
        self._begin(self.threads)
        self._until(
            lambda: not any(thread.busy for thread in self.threads) or self._failed(), "the first turns"
        )
        if thread := self._failed():
            raise DemoFailedError(
                f"the first turn of {thread.story.name} {thread.turn.status}: {thread.turn.error}"
            )

    def long_turns(self, kill_after: int) -> None:
        """All threads begin their long answers; the last one's worker is killed in the middle of its own."""
        self._begin(self.threads)
        turn = self.victim.turn
        self._until(lambda: turn.pieces >= kill_after or not self.victim.busy, "the long answers")
        if not self.victim.busy:
            raise DemoFailedError(
                f"the turn of {self.victim.story.name} was over before it could be disturbed"
            )
        self._kill(turn.pieces)
        self._until(lambda: not self.victim.busy, "the end of the turn whose worker was killed")

    def next_turn(self) -> None:
        """The next turn of the killed thread, while the others go on; then all of them end."""
        self._begin([self.victim])
        self._until(lambda: not any(thread.busy for thread in self.threads), "the end of all turns")

    def look_back(self) -> None:
        question = ("thread/read", {"threadId": self.victim.id, "includeTurns": True})
        self.history = self._ask_all([question])[0]["thread"]["turns"]
        self._look()

    def _failed(self) -> DemoThread | None:
        ended = (thread for thread in self.threads if not thread.busy)
        return next((thread for thread in ended if thread.turn.status != "completed"), None)

    def _kill(self, pieces: int) -> None:
        """SIGKILL from outside, as by the system's OOM killer: the server is not told beforehand."""
        self._look()
        name, pid = self.victim.story.name, self.victim.now.pid
        descriptor = os.pidfd_open(pid)
        try:
            self._look()
            if self.victim.now.pid != pid:
                raise DemoFailedError(f"the worker of {name} changed before it was killed")
            self.streaming = sum(1 for thread in self.others if thread.busy)
            self._screen.tell(
                name, f"SIGKILL to worker {pid}, in turn 2 after {pieces} pieces of text", BOLD, RED
            )
            self.killed_at, self.killed_pid = time.monotonic(), pid
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)

    # --- requests and messages -----------------------------------------------------------------------------------

    def _begin(self, threads: Sequence[DemoThread]) -> None:
        requests = []
        for thread in threads:
            text = thread.story.prompts[thread.begin().number - 1]
            words = {"threadId": thread.id, "input": [{"type": "text", "text": text}]}
            self._screen.tell(
                thread.story.name, f"turn {thread.turn.number}  user: {text.partition(chr(10))[0]}"
            )
            requests.append(("turn/start", words))
        self._ask_all(requests)

    def _ask_all(self, requests: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
        """Send all, wait for all; the results in order."""
        ids = [self._client.request(method, params) for method, params in requests]
        methods = ", ".join(dict.fromkeys(method for method, _ in requests))
        self._until(lambda: all(number in self._answers for number in ids), f"the answer to {methods}")
        results = []
        for number, (method, _) in zip(ids, requests, strict=True):
            answer = self._answers.pop(number).body
            if "error" in answer:
                raise DemoFailedError(f"{method}: {answer['error']['message']}")
            results.append(answer["result"])
        return results

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + self._patience
        while not condition():
            message = self._client.next(LOOK_S)
            if message is not None:
                self._take(message)
            if time.monotonic() - self._looked > LOOK_S:
                self._look()
            if time.monotonic() > deadline:
                raise DemoFailedError(f"{what} did not come within {self._patience:g} s")

    def _take(self, message: Message) -> None:
        if not message.method:
            self._answers[message.body["id"]] = message
        elif "id" in message.body:
            # Nobody sits here to decide: what needs an approval is declined.
            self._client.send({"id": message.body["id"], "result": {"decision": "decline"}})
        elif thread := self._by_id.get(str(message.params.get("threadId"))):
            thread.take(message, self._screen)

    def _look(self) -> None:
        """Ask the server what `bulkhead ps` asks."""
        self._looked = time.monotonic()
        server = next((server for server in running_servers() if server.pid == self._client.pid), None)
        if server is None:
            return
        for row in ask(server, "ps", {})["threads"]:
            if row["thread"] in self._by_id:
                self._by_id[row["thread"]].see(row, self._screen)
        self._screen.show([thread.row(self._screen) for thread in self.threads])
