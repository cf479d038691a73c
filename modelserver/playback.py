"""What to answer to a request: the step of the script whose turn it is, with its calls spelled out.

Whatever cannot be played (an unknown directive, a tool that is not offered) becomes a message that says so:
the user of the client reads it in the answer, where an HTTP error would only set off retries.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TypeAlias

import msgspec

from modelserver.actions import (
    CALLS,
    Cut,
    Fail,
    Hang,
    Incomplete,
    Say,
    Sleep,
    Status,
    Step,
    Stream,
    Think,
    Usage,
)
from modelserver.conversation import Conversation
from modelserver.errors import ScriptError, ToolMissingError
from modelserver.script import parse
from modelserver.toolbox import Call

__all__ = ["Attempts", "Part", "Performance", "perform"]

Part: TypeAlias = Say | Think | Stream | Call | Sleep | Hang | Cut | Fail | Incomplete

WHO = "Scripted model"
QUOTED = 80
"""Characters of the user's text that an answer without a script repeats."""
REMEMBERED = 20_000
"""How many first attempts are kept in mind; enough for any run, and the memory stays small."""


class Performance(msgspec.Struct, frozen=True):
    """An answer, ready to be put into the words of either API."""

    parts: tuple[Part, ...]
    step: int
    usage: Usage
    headers: tuple[tuple[str, str], ...] = ()
    status: Status | None = None


class Attempts:
    """Remembers what was asked before, so that `!cut-once` and `!status-once` hit the first attempt only.

    The same question is the same text at the same place of the same conversation; asking again later in a
    conversation, or in another one, is a new question.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def first(self, thread: str, conversation: Conversation) -> bool:
        """Tell whether the question is new. The next call with the same arguments says False."""
        asked = f"{thread}\0{conversation.turn}\0{conversation.step}\0{conversation.text}"
        key = hashlib.blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key in self._seen:
            self._seen.move_to_end(key)
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True


def perform(conversation: Conversation, thread: str, attempts: Attempts) -> Performance:
    """Choose the answer to a request. `thread` names its conversation, as far as the client tells."""
    if conversation.text is None:
        return _note(conversation, "the request holds no user text.")
    try:
        script = parse(conversation.text)
    except ScriptError as error:
        return _note(conversation, f"{error}.")
    if not script.steps:
        return _note(
            conversation,
            "I play the directives in a message and understand nothing else. "
            f"You wrote: {_quoted(conversation.text)}",
        )
    step = script.step_at(conversation.step)
    if step is None:
        results = "1 tool result" if conversation.outputs == 1 else f"{conversation.outputs} tool results"
        return _note(conversation, f"the script is over, {results} came back.")
    return _performance(step, conversation, thread, attempts)


def _performance(step: Step, conversation: Conversation, thread: str, attempts: Attempts) -> Performance:
    once = (step.status is not None and step.status.once) or any(
        isinstance(action, Cut) and action.once for action in step.actions
    )
    first = not once or attempts.first(thread, conversation)
    parts: list[Part] = []
    for action in step.actions:
        if isinstance(action, Cut) and action.once and not first:
            continue
        if isinstance(action, CALLS):
            try:
                parts.append(conversation.toolbox.call(action, conversation.session))
            except ToolMissingError as error:
                parts.append(Say(f"{WHO}: {error}."))
        else:
            parts.append(action)
        if isinstance(action, Cut):
            break
    status = step.status
    if status is not None and status.once and not first:
        status = None
    return Performance(tuple(parts), conversation.step, step.usage or Usage(), step.headers, status)


def _note(conversation: Conversation, text: str) -> Performance:
    return Performance((Say(f"{WHO}: {text}"),), conversation.step, Usage())


def _quoted(text: str) -> str:
    flat = " ".join(text.split())
    return f"“{flat if len(flat) <= QUOTED else flat[: QUOTED - 1] + '…'}”"
