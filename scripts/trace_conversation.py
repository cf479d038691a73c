"""The server's side of a conversation as a sequence of entries, and which of them may swap places."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import msgspec
from trace_line import OUTPUT_DELTA, Difference, Line, delta_item, is_delta, message_key, method_of_request
from trace_shape import Shape, shape_of

STATUS_CHANGED = "thread/status/changed"

# Notification -> the requests whose response it follows.
FOLLOWERS: dict[str, frozenset[str]] = {
    "account/login/completed": frozenset({"account/login/start", "account/login/cancel"}),
    "account/updated": frozenset({"account/login/start", "account/logout"}),
    "configWarning": frozenset({"initialize"}),
    "mcpServer/startupStatus/updated": frozenset({"thread/start", "thread/resume", "thread/fork"}),
    "remoteControl/status/changed": frozenset({"initialize"}),
    "thread/archived": frozenset({"thread/archive"}),
    "thread/deleted": frozenset({"thread/delete"}),
    "thread/goal/cleared": frozenset({"thread/resume"}),
    "thread/name/updated": frozenset({"thread/name/set"}),
    "thread/reverted": frozenset({"thread/revert"}),
    "thread/started": frozenset({"thread/start", "thread/fork"}),
    "thread/tokenUsage/updated": frozenset({"thread/resume", "thread/fork"}),
    "thread/unarchived": frozenset({"thread/unarchive"}),
}

# Notification -> the requests whose response it may precede or follow: recordings show both.
BESIDE: dict[str, frozenset[str]] = {"warning": frozenset({"turn/start"})}

EXCERPT = 120  # characters of a message shown in a difference


class Entry(msgspec.Struct):
    """A message of the server, or a run of deltas. `asked` is the position of the request a response answers."""

    key: str
    kind: str
    method: str
    where: str
    message: dict[str, Any]
    shape: Shape
    position: int
    asked: int = -1


class Conversation:
    """The server's side of a run as entries, the output deltas apart (they have an order of their own)."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.entries: list[Entry] = []
        self.output: Shape | None = None
        self.misplaced: list[Difference] = []
        self._asked: dict[str, deque[tuple[int, str]]] = {}
        self._seen: Counter[str] = Counter()
        self._open_items: set[str] = set()
        self._unloaded: set[str] = set()
        last: Entry | None = None  # the last entry that is no response
        for position, line in enumerate(lines):
            message = line.message
            if line.direction == "c2s":
                method = method_of_request(message)
                if method is not None:
                    self._asked.setdefault(json.dumps(message["id"]), deque()).append((position, method))
            elif line.direction == "s2c" and not isinstance(message, dict):
                self.misplaced.append(
                    Difference(
                        "a line of the server", "", "", "unexpected", "JSON", (line.raw or "")[:EXCERPT]
                    )
                )
            elif line.direction == "s2c":
                if message.get("method") == OUTPUT_DELTA:
                    self._add_output(message)
                elif self._is_repeated_unload(message):
                    continue
                elif (
                    last
                    and is_delta(message)
                    and is_delta(last.message)
                    and delta_item(message) == delta_item(last.message)
                ):
                    last.shape.merge(shape_of(message))
                else:
                    entry = self._add(message, position)
                    last = last if entry.kind == "response" else entry

    def _add(self, message: dict[str, Any], position: int) -> Entry:
        key = message_key(message)
        self._seen[key] += 1
        kind = key.split(" ", 1)[0]
        if kind == "response":
            waiting = self._asked.get(json.dumps(message.get("id")))
            asked, method = waiting.popleft() if waiting else (-1, "")
            where = f"response to {method or 'nothing'} (id {json.dumps(message.get('id'))})"
        else:
            asked, method = -1, str(message["method"])
            where = f"{key} #{self._seen[key]}"
            self._follow_item(message)
        entry = Entry(key, kind, method, where, message, shape_of(message), position, asked)
        self.entries.append(entry)
        return entry

    def _is_repeated_unload(self, message: dict[str, Any]) -> bool:
        params = message.get("params")
        if message.get("method") != STATUS_CHANGED or not isinstance(params, dict):
            return False
        thread, status = str(params.get("threadId")), params.get("status")
        if not isinstance(status, dict) or status.get("type") != "notLoaded":
            self._unloaded.discard(thread)
            return False
        repeated = thread in self._unloaded
        self._unloaded.add(thread)
        return repeated

    def _follow_item(self, message: dict[str, Any]) -> None:
        if message["method"] in {"item/started", "item/completed"}:
            item = (message.get("params") or {}).get("item") or {}
            if message["method"] == "item/started":
                self._open_items.add(str(item.get("id")))
            else:
                self._open_items.discard(str(item.get("id")))

    def _add_output(self, message: dict[str, Any]) -> None:
        shape = shape_of(message)
        if self.output is None:
            self.output = shape
        else:
            self.output.merge(shape)
        item = delta_item(message)[1]
        if item not in self._open_items:
            self.misplaced.append(
                Difference(
                    OUTPUT_DELTA, OUTPUT_DELTA, "", "order", "within its item", f"outside of item {item}"
                )
            )

    def owner(self, index: int) -> int | None:
        """The index of the response that the notification at `index` follows, if it is one that follows one."""
        methods = FOLLOWERS.get(self.entries[index].method, frozenset())
        for earlier in range(index - 1, -1, -1):
            entry = self.entries[earlier]
            if entry.kind == "response" and entry.method in methods:
                return earlier
        return None

    def independent(self, first: int, second: int) -> bool:
        """Whether the entries at `first` < `second` may also arrive the other way round."""
        one, other = self.entries[first], self.entries[second]
        if one.kind == "response" and other.kind == "response":
            return 0 <= other.asked < one.position
        if "response" not in {one.kind, other.kind}:
            return False
        notification, response = (first, second) if other.kind == "response" else (second, first)
        beside = BESIDE.get(self.entries[notification].method, frozenset())
        if self.entries[response].method in beside:
            return True
        owner = self.owner(notification)
        return owner is not None and owner != response
