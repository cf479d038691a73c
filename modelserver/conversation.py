"""What a request tells about the conversation: the newest user text and how far its script has come.

Clients put texts of their own into user messages (the environment, instructions of the project, notes on an
interrupted turn). Those are wrapped in a tag or carry a known heading, and are passed over; but what a thread tells
itself, to go on with its goal, counts as if the user had said the goal.

The position in a script is read from the conversation alone, so any server can go on with it, also after a
restart: the id of a call names the round in which it was made (`..._s2_0` is the first call of round 2),
and the round to play is the one after the highest round whose output came back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from modelserver.toolbox import Toolbox

__all__ = ["Conversation", "call_id", "of_chat", "of_responses"]

_OUTPUTS = {
    "function_call_output",
    "custom_tool_call_output",
    "local_shell_call_output",
    "tool_search_output",
}
_WRAPPED = re.compile(r"\s*<([A-Za-z_-]+)(?:\s[^>]*)?>.*</\1>\s*", re.DOTALL)
_IMAGE_TAG = re.compile(r"\s*</?image\b[^>]*>\s*")
_GOAL = re.compile(
    r'<codex_internal_context source="goal">.*<objective>\n(.*)\n</objective>.*</codex_internal_context>',
    re.DOTALL,
)
_PROJECT_RULES = "# AGENTS.md"
_SESSION = re.compile(r"session ID (\d{1,10})\b")
_ROUND = re.compile(r"_s(\d{1,9})_\d+")


class Conversation(msgspec.Struct, frozen=True):
    text: str | None
    """The newest user text; None when the request holds none."""
    turn: int
    """How many user messages there are."""
    step: int
    """How many rounds of tool outputs came back since the newest one."""
    outputs: int
    """How many tool outputs these were."""
    session: int | None
    """The running command that such an output named last."""
    toolbox: Toolbox


class _Progress:
    """Reads a conversation from its beginning to its end."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.turn = 0
        self.clear()

    def clear(self) -> None:
        self.round = 0
        self.outputs = 0
        self.session: int | None = None
        self.in_outputs = False

    def user(self, content: Any) -> None:
        text = _user_text(content)
        if text is not None:
            self.text = text
            self.turn += 1
            self.clear()

    def output(self, identity: Any, content: Any) -> None:
        self.outputs += 1
        found = _ROUND.search(identity) if isinstance(identity, str) else None
        if found is not None:
            self.round = max(self.round, int(found[1]) + 1)
        elif not self.in_outputs:
            # A call that another server made: outputs that stand together count as one round.
            self.round += 1
        self.in_outputs = True
        sessions = _SESSION.findall(_plain(content))
        if sessions:
            self.session = int(sessions[-1])

    def other(self) -> None:
        self.in_outputs = False

    def conversation(self, toolbox: Toolbox) -> Conversation:
        return Conversation(self.text, self.turn, self.round, self.outputs, self.session, toolbox)


def call_id(unique: str, step: int, number: int) -> str:
    """Make the id of a call, which carries its round."""
    return f"call_{unique}_s{step}_{number}"


def of_responses(body: Mapping[str, Any]) -> Conversation:
    """Read the conversation in the body of a Responses request."""
    given = body.get("input")
    progress = _Progress()
    tools = list(body["tools"]) if isinstance(body.get("tools"), list) else []
    if isinstance(given, str):
        progress.user(given)
    for item in _mappings(given):
        kind = str(item.get("type", "message"))
        if kind == "message":
            if item.get("role") == "user":
                progress.user(item.get("content"))
            else:
                progress.other()
        elif kind in _OUTPUTS:
            progress.output(item.get("call_id"), item.get("output"))
            tools += item["tools"] if isinstance(item.get("tools"), list) else []
        elif kind == "additional_tools":
            tools += item["tools"] if isinstance(item.get("tools"), list) else []
        else:
            progress.other()
    return progress.conversation(Toolbox.of(tools))


def of_chat(body: Mapping[str, Any]) -> Conversation:
    """Read the conversation in the body of a Chat Completions request."""
    progress = _Progress()
    for message in _mappings(body.get("messages")):
        match message.get("role"):
            case "user":
                progress.user(message.get("content"))
            case "tool":
                progress.output(message.get("tool_call_id"), message.get("content"))
            case _:
                progress.other()
    return progress.conversation(Toolbox.of(body.get("tools")))


def _mappings(value: Any) -> Iterable[dict[str, Any]]:
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else ()


def _user_text(content: Any) -> str | None:
    """Pick the user's own words; None for a message in which only the client speaks."""
    if isinstance(content, str):
        return None if _is_clients(content) else content
    texts = []
    others = 0
    for part in _mappings(content):
        text = part.get("text")
        if not isinstance(text, str):
            others += 1
        elif goal := _GOAL.fullmatch(text):
            texts.append(goal[1].replace("<\\/", "</"))
        elif not _is_clients(text):
            texts.append(text)
    return "\n".join(texts) if texts or others else None


def _is_clients(text: str) -> bool:
    return (
        text.startswith(_PROJECT_RULES)
        or _WRAPPED.fullmatch(text) is not None
        or _IMAGE_TAG.fullmatch(text) is not None
    )


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in _mappings(content) if isinstance(part.get("text"), str))
