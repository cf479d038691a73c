"""From a user's text to a script. Pure: no clock, no network, no state.

The language is described in the docstring of the package.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

import msgspec

from modelserver import arguments
from modelserver.actions import (
    CALLS,
    ENDINGS,
    Action,
    Cut,
    Fail,
    Hang,
    Incomplete,
    Patch,
    Run,
    Say,
    Script,
    Search,
    Sleep,
    Status,
    Step,
    Think,
    Usage,
    View,
)
from modelserver.errors import ScriptError

__all__ = ["DIRECTIVES", "parse"]

MAX_REPEAT = 100_000
"""Far beyond any stress run, and small enough that a slip of the keyboard ends some day."""

_DIRECTIVE = re.compile(r"[ \t]*!([a-z][a-z-]*)(?:[ \t]+(.*))?")
_HERE = re.compile(r"(?:(\S+)[ \t]+)?<<([A-Z]+)")
_END_OF_PATCH = "*** End Patch"

_ACTIONS: dict[str, Callable[[str], Action]] = {
    "say": lambda rest: Say(arguments.text(rest)),
    "comment": lambda rest: Say(arguments.text(rest), "commentary"),
    "final": lambda rest: Say(arguments.text(rest), "final_answer"),
    "think": lambda rest: Think(arguments.text(rest)),
    "think-raw": lambda rest: Think(arguments.text(rest), raw=True),
    "stream": arguments.stream,
    "run": lambda rest: Run(arguments.text(rest)),
    "run-escalated": lambda rest: Run(arguments.text(rest), escalated=True),
    "start": lambda rest: Run(arguments.text(rest), interactive=True),
    "plan": arguments.plan,
    "view": lambda rest: View(arguments.text(rest)),
    "stdin": arguments.stdin,
    "tool": arguments.tool,
    "search": lambda rest: Search(arguments.text(rest)),
    "sleep": lambda rest: Sleep(arguments.seconds(rest)),
    "hang": lambda rest: arguments.nothing(rest, Hang()),
    "cut": lambda rest: Cut(clean=arguments.clean(rest)),
    "cut-once": lambda rest: Cut(clean=arguments.clean(rest), once=True),
    "fail": lambda rest: Fail(*arguments.pair(rest, "CODE MESSAGE")),
    "incomplete": lambda rest: Incomplete(arguments.text(rest)),
}
_BLOCK_AS_WHOLE = {"say", "comment", "final", "think", "think-raw", "run", "run-escalated", "start"}
_BLOCK_AFTER_WORD = {"stdin", "tool"}
_OTHERS = ("patch", "usage", "headers", "status", "status-once", "repeat", "then")

DIRECTIVES = (*_ACTIONS, *_OTHERS)
"""Every directive, without its exclamation mark."""


class _Draft(msgspec.Struct):
    """A step that is still being read."""

    line: int
    actions: list[Action] = []
    status: Status | None = None
    headers: tuple[tuple[str, str], ...] = ()
    usage: Usage | None = None
    times: int = 1
    touched: bool = False
    ended_by: str | None = None

    def step(self) -> Step:
        return Step(tuple(self.actions), self.status, self.headers, self.usage, self.times)

    def calls(self) -> bool:
        return any(isinstance(action, CALLS) for action in self.actions)


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = text.replace("\r\n", "\n").split("\n")
        self.at = 0
        self.drafts: list[_Draft] = []

    def read(self) -> Script:
        while self.at < len(self.lines):
            found = _DIRECTIVE.fullmatch(self.lines[self.at])
            self.at += 1
            if found is None:
                continue
            if not self.drafts:
                self.drafts.append(_Draft(self.at))
            self.directive(found[1], (found[2] or "").strip())
        for number, draft in enumerate(self.drafts, 1):
            self.check(draft, last=number == len(self.drafts))
        return Script(tuple(draft.step() for draft in self.drafts))

    def directive(self, name: str, rest: str) -> None:
        line = self.at
        try:
            if name == "then":
                arguments.nothing(rest)
                self.drafts.append(_Draft(line))
                return
            draft = self.drafts[-1]
            draft.touched = True
            if name in _ACTIONS:
                self.add(draft, name, _ACTIONS[name](self.block(name, rest)))
            elif name == "patch":
                arguments.nothing(rest)
                self.add(draft, name, Patch(self.lines_to(_END_OF_PATCH, keep=True)))
            elif name == "usage":
                draft.usage = arguments.usage(rest)
            elif name == "headers":
                draft.headers += arguments.headers(rest)
            elif name in {"status", "status-once"}:
                draft.status = arguments.status(rest, once=name == "status-once")
            elif name == "repeat":
                draft.times = arguments.count(rest, MAX_REPEAT)
            else:
                raise ScriptError(line, _unknown(name))
        except arguments.ArgumentError as error:
            raise ScriptError(line, f"!{name}: {error}") from None

    def add(self, draft: _Draft, name: str, action: Action) -> None:
        if draft.ended_by is not None:
            raise arguments.ArgumentError(f"nothing can follow !{draft.ended_by} in the same step")
        if isinstance(action, ENDINGS) and not (isinstance(action, Cut) and action.once):
            draft.ended_by = name
        draft.actions.append(action)

    def block(self, name: str, rest: str) -> str:
        """Take the argument, or the lines that follow when it says `<<WORD`."""
        here = _HERE.fullmatch(rest)
        if here is None:
            return rest
        if name in _BLOCK_AS_WHOLE and here[1] is None:
            return self.lines_to(here[2])
        if name in _BLOCK_AFTER_WORD and here[1] is not None:
            return f"{here[1]} {self.lines_to(here[2])}"
        return rest

    def lines_to(self, end: str, *, keep: bool = False) -> str:
        start = self.at
        while self.at < len(self.lines):
            self.at += 1
            if self.lines[self.at - 1].strip() == end:
                block = self.lines[start : self.at - 1]
                return "\n".join([*block, end, ""] if keep else block)
        raise arguments.ArgumentError(f"there is no line `{end}` after it")

    def check(self, draft: _Draft, *, last: bool) -> None:
        if not draft.touched:
            raise ScriptError(draft.line, "the step at this !then is empty")
        if draft.times > 1 and not draft.calls():
            raise ScriptError(draft.line, "a step that calls no tool ends the turn and cannot be repeated")
        if not last and not draft.calls():
            raise ScriptError(
                draft.line, "this step calls no tool, so the turn ends with it and !then is never reached"
            )


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, DIRECTIVES, n=1)
    hint = f" Did you mean !{near[0]}?" if near else ""
    known = " ".join(f"!{directive}" for directive in DIRECTIVES)
    return f"unknown directive !{name}.{hint} Known directives: {known}"


def parse(text: str) -> Script:
    """Read the script in a user's text; it is without steps when no line is a directive.

    Lines that do not begin with `!` and a lower-case letter are prose and count for nothing.
    Raises ScriptError, and nothing else whatever the text is.
    """
    return _Reader(text).read()
