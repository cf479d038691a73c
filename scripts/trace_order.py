"""Order and content of two runs of one conversation, message by message.

The order of the server's messages has to be the recorded one, but for what the protocol leaves open:

* a run of deltas of one item counts as one message;
* `item/commandExecution/outputDelta` may be absent, and stands somewhere between its item's start and end;
* `thread/status/changed` may say once more that a thread is not loaded;
* responses to requests that were pending together may swap;
* a notification that follows "its" response (`FOLLOWERS`) may swap with responses to other requests;
* a few notifications may come on either side of a response (`BESIDE`).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from trace_conversation import EXCERPT, Conversation, Entry
from trace_line import OUTPUT_DELTA, Difference, Line
from trace_shape import Shape, compare_shapes, paired_strings

# Fields that name one thing throughout a conversation: two names for one thing, or one for two, is a bug.
IDENTITY_FIELDS = frozenset({"threadId", "turnId", "rootTurnId", "itemId", "callId", "id", "sessionId"})


def compare(recorded: Sequence[Line], live: Sequence[Line]) -> list[Difference]:
    """Every difference between a recording and another run of the same client lines."""
    then, now = Conversation(recorded), Conversation(live)
    pairs, moved, lost, unexpected = _align(then, now)
    differences = list(now.misplaced)
    if then.output is not None and now.output is not None:
        differences += _field_differences(OUTPUT_DELTA, OUTPUT_DELTA, then.output, now.output)
    for index in lost:
        entry = then.entries[index]
        differences.append(Difference(entry.where, entry.method, "", "lost", _excerpt(entry), "nothing"))
    for index in unexpected:
        entry = now.entries[index]
        differences.append(
            Difference(entry.where, entry.method, "", "unexpected", "nothing", _excerpt(entry))
        )
    differences += _order_differences(then, now, pairs, moved)
    names: dict[tuple[str, str], str] = {}
    for index, other in sorted(pairs.items()):
        differences += _entry_differences(then.entries[index], now.entries[other])
        differences += _identity_differences(then.entries[index], now.entries[other], names)
    return differences


def _align(then: Conversation, now: Conversation) -> tuple[dict[int, int], list[int], list[int], list[int]]:
    """(recorded index -> live index, recorded indices out of line, recorded without partner, live without)."""
    old, new = [entry.key for entry in then.entries], [entry.key for entry in now.entries]
    pairs: dict[int, int] = {}
    for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        pairs.update({block.a + step: block.b + step for step in range(block.size)})
    taken = set(pairs.values())
    waiting: dict[str, deque[int]] = {}
    for index, key in enumerate(new):
        if index not in taken:
            waiting.setdefault(key, deque()).append(index)
    moved, lost = [], []
    for index, key in enumerate(old):
        if index in pairs:
            continue
        if waiting.get(key):
            pairs[index] = waiting[key].popleft()
            moved.append(index)
        else:
            lost.append(index)
    return pairs, moved, lost, sorted(index for queue in waiting.values() for index in queue)


def _order_differences(
    then: Conversation, now: Conversation, pairs: dict[int, int], moved: list[int]
) -> Iterator[Difference]:
    for index in moved:
        crossed = [
            other
            for other in pairs
            if other != index
            and (other < index) != (pairs[other] < pairs[index])
            and not then.independent(min(index, other), max(index, other))
        ]
        if crossed:
            entry, nearest = then.entries[index], min(crossed, key=lambda other: abs(other - index))
            sides = ("after", "before") if nearest < index else ("before", "after")
            label = then.entries[nearest].where
            yield Difference(
                entry.where, entry.method, "", "order", f"{sides[0]} {label}", f"{sides[1]} {label}"
            )


def _entry_differences(recorded: Entry, live: Entry) -> Iterator[Difference]:
    if recorded.kind == "response" and ("error" in recorded.message) != ("error" in live.message):
        yield Difference(recorded.where, recorded.method, "", "outcome", _excerpt(recorded), _excerpt(live))
        return
    yield from _field_differences(recorded.where, recorded.method, recorded.shape, live.shape)


def _field_differences(where: str, method: str, recorded: Shape, live: Shape) -> Iterator[Difference]:
    for found in compare_shapes(recorded, live):
        yield Difference(where, method, found.path, found.kind, found.recorded, found.live)


def _identity_differences(
    recorded: Entry, live: Entry, names: dict[tuple[str, str], str]
) -> Iterator[Difference]:
    for field, one, other in paired_strings(recorded.message, live.message):
        if field not in IDENTITY_FIELDS:
            continue
        known = names.setdefault(("recorded", one), other), names.setdefault(("live", other), one)
        if known != (other, one):
            expected = f"{one} is {known[0]}, {other} is {known[1]} elsewhere"
            yield Difference(
                recorded.where, recorded.method, field, "identity", expected, f"{one} is {other}"
            )


def _excerpt(entry: Entry) -> str:
    return json.dumps(entry.message)[:EXCERPT]
