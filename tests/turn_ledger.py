"""Checks what a client was told against what the supervisor promises: a state machine a turn.

    ledger = TurnLedger()
    ledger.expect(turn_id, "w0001 w0002 ...")    # all that the model says in it, messages joined
    for line in client.lines: ledger.take(line)
    ledger.settle()

Every violation is an AssertionError that names the turn and the line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from protocol_client import Line

_ITEM_DELTAS = frozenset({"item/agentMessage/delta", "item/commandExecution/outputDelta"})

_SNAPSHOTS = frozenset({"turn/diff/updated", "turn/plan/updated"})
"""They tell a whole state, so the same one may well be told twice within a millisecond."""


class Entry(msgspec.Struct):
    """One turn. States: accepted, started, ended."""

    id: str
    thread: str
    state: str = "accepted"
    status: str = ""
    """What the turn ended with: completed, failed or interrupted."""
    error: str = ""
    said: str = ""
    expected: str | None = None
    open_items: set[str] = msgspec.field(default_factory=set)
    closed_items: set[str] = msgspec.field(default_factory=set)
    messages: dict[str, str] = msgspec.field(default_factory=dict)
    """The text of each message so far, by item."""
    error_notices: list[str] = msgspec.field(default_factory=list)


class TurnLedger:
    """Takes the lines of one client in their order."""

    def __init__(self) -> None:
        self.turns: dict[str, Entry] = {}
        self._expected: dict[str, str] = {}
        self._active: dict[str, str] = {}
        self._requests: dict[Any, str] = {}
        self._replies: set[Any] = set()
        self._seen: set[bytes] = set()
        self._ended = 0

    def expect(self, turn: str, text: str) -> None:
        """What the model says in the turn, if it gets to say it all."""
        self._expected[turn] = text

    def ended(self, status: str) -> list[Entry]:
        return [entry for entry in self.turns.values() if entry.status == status]

    def statuses(self) -> Counter[str]:
        return Counter(entry.status for entry in self.turns.values())

    def take(self, line: Line) -> None:
        message = line.message
        assert message is not None, f"no message: {line.raw[:200]!r}"
        if line.sent:
            if message.get("method") == "turn/start":
                self._requests[message["id"]] = message["params"]["threadId"]
        elif "method" not in message:
            self._answer(message)
        elif message["method"].startswith(("turn/", "item/")) or message["method"] == "error":
            if message["method"] not in _SNAPSHOTS:
                assert line.raw not in self._seen, f"said twice: {line.raw[:300]!r}"
                self._seen.add(line.raw)
            self._event(message["method"], message["params"], line)

    def _answer(self, message: dict[str, Any]) -> None:
        thread = self._requests.get(message["id"])
        if thread is None:
            return
        assert message["id"] not in self._replies, f"request {message['id']} was answered twice"
        self._replies.add(message["id"])
        if "result" in message:
            turn = message["result"]["turn"]["id"]
            assert turn not in self.turns, f"turn {turn} was accepted twice"
            assert thread not in self._active, f"turn {turn} was accepted while {self._active[thread]} ran"
            self.turns[turn] = Entry(turn, thread)
            self._active[thread] = turn

    def _event(self, method: str, params: dict[str, Any], line: Line) -> None:
        turn = params["turn"]["id"] if "turn" in params else params.get("turnId")
        if turn is None:
            return
        where = f"{method} of turn {turn} (line {line.index})"
        entry = self.turns.get(turn)
        assert entry is not None, f"{where}: the turn was not accepted"
        assert entry.thread == params["threadId"], f"{where}: in thread {params['threadId']}"
        assert entry.state != "ended", f"{where}: after its end"
        if method == "turn/started":
            assert entry.state == "accepted", f"{where}: started twice"
            entry.state = "started"
        elif method == "turn/completed":
            self._end(entry, params["turn"], where)
        elif method == "error":
            if not params["willRetry"]:
                entry.error_notices.append(params["error"]["message"])
        else:
            assert entry.state == "started", f"{where}: before its start"
            self._item(entry, method, params, where)

    def _item(self, entry: Entry, method: str, params: dict[str, Any], where: str) -> None:
        item = params.get("itemId") or params.get("item", {}).get("id")
        if method == "item/started":
            assert item not in entry.open_items | entry.closed_items, f"{where}: item {item} started twice"
            entry.open_items.add(item)
        elif method == "item/completed":
            assert item in entry.open_items, f"{where}: item {item} is not open"
            entry.open_items.remove(item)
            entry.closed_items.add(item)
            if params["item"]["type"] == "agentMessage":
                assert entry.messages.get(item, "") == params["item"]["text"], (
                    f"{where}: deltas make another text"
                )
        elif method in _ITEM_DELTAS:
            assert item in entry.open_items, f"{where}: item {item} is not open"
            if method == "item/agentMessage/delta":
                entry.said += params["delta"]
                entry.messages[item] = entry.messages.get(item, "") + params["delta"]

    def _end(self, entry: Entry, turn: dict[str, Any], where: str) -> None:
        entry.status = turn["status"]
        if entry.status == "failed":
            entry.error = turn["error"]["message"]
            assert entry.error_notices == [entry.error], (
                f"{where}: told {entry.error_notices}, not {entry.error}"
            )
        else:
            assert entry.state == "started", f"{where}: before its start"
            assert not entry.error_notices, f"{where}: {entry.error_notices}"
            assert turn["error"] is None, where
        if entry.status == "completed":
            assert not entry.open_items, f"{where}: items {entry.open_items} are open"
        entry.state = "ended"
        self._ended += 1
        assert self._active.pop(entry.thread) == entry.id, where

    def follow(self, lines: Iterable[Line], turns: int) -> None:
        """Take lines until so many turns have ended, then settle."""
        for line in lines:
            self.take(line)
            if self._ended == turns:
                break
        self.settle()

    def settle(self) -> None:
        """All is over: every turn has ended, and said all that it should, or without a gap the beginning of it."""
        for request, thread in self._requests.items():
            assert request in self._replies, f"turn/start {request} of thread {thread} was never answered"
        for entry in self.turns.values():
            assert entry.state == "ended", f"turn {entry.id} of thread {entry.thread} has not ended"
            expected = self._expected.get(entry.id)
            if expected is None:
                continue
            if entry.status == "completed":
                assert entry.said == expected, f"turn {entry.id} said {entry.said!r}, not {expected!r}"
            else:
                assert expected.startswith(entry.said), (
                    f"turn {entry.id} said {entry.said!r}, not of {expected!r}"
                )


def words(count: int) -> str:
    """What `!stream COUNT` says."""
    return " ".join(f"w{number:04d}" for number in range(1, count + 1))
