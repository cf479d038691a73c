"""What must have happened in the demo, and the table of what did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from demo_run import Run
from demo_screen import GREEN, RED, Screen, table
from demo_story import WORDS
from demo_surroundings import ModelChoice
from demo_thread import DemoThread

from modelserver.embedded import LoggedRequest

HEAD = ("THREAD", "WORKER", "EPOCH", "TURNS", "KILL TO TURN/COMPLETED", "RESULT")
LONG = 1  # index of the turn in which the kill falls


class Check(msgspec.Struct, frozen=True):
    thread: DemoThread
    claim: str
    held: bool


def checks(run: Run, model: ModelChoice, requests: list[LoggedRequest]) -> list[Check]:
    found = [
        Check(thread, claim, held) for thread in run.others for claim, held in _untouched(run, thread, model)
    ]
    found += [Check(run.victim, claim, held) for claim, held in _back(run, model, requests)]
    return found


def _untouched(run: Run, thread: DemoThread, model: ModelChoice) -> Iterator[tuple[str, bool]]:
    yield "its turns completed", [turn.status for turn in thread.turns] == ["completed", "completed"]
    yield "it has the same worker", thread.now == thread.first and thread.now.epoch == 1
    long = thread.turns[LONG]
    yield "it was in the middle of its answer at the kill", long.ended_at > run.killed_at
    yield "the pieces of its answer make up the whole", long.whole()
    if model.scripted:
        yield f"its words are 1 to {WORDS} without a gap", long.words() == list(range(1, WORDS + 1))
    # It may write in its own repository, nobody else may.
    if thread.story.name == "atlas" and model.scripted:
        yield "its file is mended", "sum(values) / len(values)" in (thread.folder / "mean.py").read_text()


def _back(run: Run, model: ModelChoice, requests: list[LoggedRequest]) -> Iterator[tuple[str, bool]]:
    thread = run.victim
    ends = [turn.status for turn in thread.turns]
    yield (
        "the killed turn ended once, as failed, with the cause",
        ends[LONG] == "failed" and ("SIGKILL" in thread.turns[LONG].error),
    )
    yield "the turns before and after it completed", ends[0] == ends[-1] == "completed" and len(ends) == 3
    yield (
        "it has a new worker",
        thread.now.pid != run.killed_pid and thread.now.epoch == thread.first.epoch + 1,
    )
    yield "thread/read tells all its turns", [turn["status"] for turn in run.history] == ends
    yield "the pieces of its last answer make up the whole", thread.turns[-1].whole()
    answer = " ".join(thread.turns[-1].texts.values())
    if model.scripted:
        sent = _last_request(requests, thread)
        spoken = [*thread.story.prompts[:-1], *thread.turns[0].texts.values(), *thread.turns[0].outputs]
        yield "the model got the earlier conversation", bool(sent) and all(text in sent for text in spoken)
    else:
        yield f"the model knows the code word {thread.story.proof}", thread.story.proof in answer


def _last_request(requests: list[LoggedRequest], thread: DemoThread) -> str:
    """All texts of the first model request of the thread's last turn; empty if there was none."""
    for request in requests:
        texts = "\n".join(_texts(request.body))
        if thread.story.prompts[-1] in texts:
            return texts
    return ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def show(run: Run, model: ModelChoice, found: list[Check], screen: Screen) -> bool:
    """The table, and what did not hold; whether all did."""
    rows = [HEAD, *(_row(run, thread, model, found) for thread in run.threads)]
    screen.say()
    for line in table(screen, rows):
        screen.say(line)
    screen.say()
    wrong = [check for check in found if not check.held]
    for check in wrong:
        screen.say(screen.paint(f"NOT SO: {check.thread.story.name}: {check.claim}", RED))
    if not wrong:
        screen.say(screen.paint(f"All {len(found)} checks held.", GREEN))
    return not wrong


def _row(run: Run, thread: DemoThread, model: ModelChoice, found: list[Check]) -> tuple[str, ...]:
    moved = thread.now != thread.first
    return (
        thread.story.name,
        f"{thread.first.pid} -> {thread.now.pid}" if moved else str(thread.first.pid),
        f"{thread.first.epoch} -> {thread.now.epoch}" if moved else str(thread.first.epoch),
        thread.count(),
        thread.after(run.killed_at),
        _result(run, thread, model, held=all(check.held for check in found if check.thread is thread)),
    )


def _result(run: Run, thread: DemoThread, model: ModelChoice, *, held: bool) -> str:
    if not held:
        return "WRONG, see below"
    if thread is run.victim:
        return "back with its history"
    long = thread.turns[LONG]
    told = (
        f"{len(long.words())} of {WORDS} words in order"
        if model.scripted
        else f"{long.pieces} pieces, no gap"
    )
    return f"untouched: {told}"
