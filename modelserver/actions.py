"""What a script is made of once it is read: actions, steps, the script.

A step is one model response. Its actions are played in the order in which they were written.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Literal, TypeAlias

import msgspec

__all__ = [
    "CALLS",
    "ENDINGS",
    "Action",
    "Cut",
    "Fail",
    "Hang",
    "Incomplete",
    "Patch",
    "Phase",
    "Plan",
    "PlanEntry",
    "PlanStatus",
    "Run",
    "Say",
    "Script",
    "Search",
    "Sleep",
    "Status",
    "Stdin",
    "Step",
    "Stream",
    "Think",
    "Tool",
    "Usage",
    "View",
]

Phase: TypeAlias = Literal["commentary", "final_answer"]
PlanStatus: TypeAlias = Literal["pending", "in_progress", "completed"]


class Say(msgspec.Struct, frozen=True):
    """An assistant message, streamed word by word."""

    text: str
    phase: Phase | None = None


class Think(msgspec.Struct, frozen=True):
    """A part of a reasoning item: of its summary, or of its raw content."""

    text: str
    raw: bool = False


class Stream(msgspec.Struct, frozen=True):
    """An assistant message of `count` numbered words, `seconds` apart."""

    count: int
    seconds: float = 0.0


class Run(msgspec.Struct, frozen=True):
    """A call of the shell tool. An interactive command gets a terminal and goes on in the background."""

    command: str
    escalated: bool = False
    interactive: bool = False


class Patch(msgspec.Struct, frozen=True):
    """A call of the patch tool. `text` is a whole patch and ends with a line feed."""

    text: str


class PlanEntry(msgspec.Struct, frozen=True):
    step: str
    status: PlanStatus


class Plan(msgspec.Struct, frozen=True):
    """A call of the plan tool."""

    entries: tuple[PlanEntry, ...]


class View(msgspec.Struct, frozen=True):
    """A call of the image viewer."""

    path: str


class Stdin(msgspec.Struct, frozen=True):
    """Input for a running command. Session None is the one that a tool output named last."""

    session: int | None
    text: str


class Tool(msgspec.Struct, frozen=True):
    """A call of any tool; the arguments go out as they were written, valid JSON or not."""

    name: str
    arguments: str


class Search(msgspec.Struct, frozen=True):
    """A search for tools, which the client carries out."""

    query: str


class Sleep(msgspec.Struct, frozen=True):
    seconds: float


class Hang(msgspec.Struct, frozen=True):
    """The beginning of a message, then silence until the client goes."""


class Cut(msgspec.Struct, frozen=True):
    """The beginning of a message, then the end of the connection.

    Clean: the HTTP body ends as it should and only the API's last event is missing. Otherwise the body
    is torn, which a client sees as a transport error.
    """

    clean: bool = False
    once: bool = False


class Fail(msgspec.Struct, frozen=True):
    code: str
    message: str


class Incomplete(msgspec.Struct, frozen=True):
    reason: str


Action: TypeAlias = (
    Say
    | Think
    | Stream
    | Run
    | Patch
    | Plan
    | View
    | Stdin
    | Tool
    | Search
    | Sleep
    | Hang
    | Cut
    | Fail
    | Incomplete
)
CALLS = (Run, Patch, Plan, View, Stdin, Tool, Search)
"""Actions that make the client come back with a tool output."""
ENDINGS = (Hang, Cut, Fail, Incomplete)
"""Actions after which nothing can be played in the same response (a `Cut` that happens once excepted)."""


class Usage(msgspec.Struct, frozen=True):
    """Token counts. The defaults are arbitrary, small and always the same, so that sums can be checked."""

    input: int = 100
    output: int = 30
    cached: int = 20
    reasoning: int = 5


class Status(msgspec.Struct, frozen=True):
    """An HTTP error instead of a response. `body` is JSON; None stands for a plain error object."""

    code: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    once: bool = False


class Step(msgspec.Struct, frozen=True):
    """One model response, played `times` times in a row (each time after tool outputs came back)."""

    actions: tuple[Action, ...] = ()
    status: Status | None = None
    headers: tuple[tuple[str, str], ...] = ()
    usage: Usage | None = None
    times: int = 1


class Script(msgspec.Struct, frozen=True):
    """The steps of a text; none when the text holds no directive."""

    steps: tuple[Step, ...] = ()

    def step_at(self, number: int) -> Step | None:
        """Find the step to play after `number` rounds of tool outputs, None when the script is over."""
        ends = list(accumulate(step.times for step in self.steps))
        found = bisect_right(ends, number)
        return self.steps[found] if found < len(self.steps) else None
