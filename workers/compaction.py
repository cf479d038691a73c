"""Making room: the model sums up the conversation, and the summary takes its place in the history."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Literal

import msgspec

from protocol.items import ContextCompactionItem
from rollouts.entries import compacted
from rollouts.ids import new_id
from workers.goal_words import MARK
from workers.hooks.of_turn import HOOK_PROMPT, TurnHooks
from workers.instructions import context_messages, message
from workers.meter import Meter, wire_usage
from workers.models.errors import ContextWindowError
from workers.models.events import Completed, ItemDone
from workers.models.stream import open_stream
from workers.provider import ModelAccess
from workers.session import Session
from workers.tools.tool import StoppedByHook

__all__ = ["compact"]

PROMPT = (
    "The conversation is about to be cut to make room. Write a summary for yourself with which you can go on without "
    "the rest: the user's goal and wishes, what was decided and why, which files were read or changed and how, what "
    "was tried and failed, the state of the work, and the next step. Be concrete; leave out what no longer matters."
)
PREFIX = "The conversation so far was summed up to make room. The summary:\n\n"
NOT_SAID = (
    "<environment_context>",
    "# AGENTS.md",
    "<turn_aborted>",
    "<user_shell_command>",
    "<user_action>",
    "<skill>",
    "<goal_context>",
    HOOK_PROMPT,
    MARK,
    PREFIX,
)
"""How messages begin that stand in the user's place and are not his words."""
KEPT_MESSAGES = 20
KEPT_BYTES = 64 * 1024
"""What the user said is kept word by word as far as it fits: a summary must not change the task."""


async def compact(
    session: Session,
    access: ModelAccess,
    turn_id: str,
    meter: Meter,
    hooks: TurnHooks,
    *,
    trigger: Literal["auto", "manual"] = "auto",
) -> None:
    """Replace the history by a summary.

    Raises:
        ModelError: the model did not answer; the history is as it was.
        StoppedByHook: a hook ends the turn, before or after that.
    """
    if not await hooks.compaction("PreCompact", trigger):
        raise StoppedByHook
    item = ContextCompactionItem(id=new_id())
    session.item_started(turn_id, item)
    meter.tell_limits()
    summary = await _summarize(session, access, turn_id, meter)
    kept = _user_messages(session.history)
    replacement = [
        msgspec.json.encode(entry)
        for entry in (*context_messages(session.settings), *kept, message("user", PREFIX + summary))
    ]
    session.replace_history(replacement)
    session.store([compacted(summary, replacement)])
    meter.tell_estimate()
    session.item_completed(turn_id, item)
    session.needs_compaction = False
    session.hooks.begun = "compact"
    if not await hooks.compaction("PostCompact", trigger):
        raise StoppedByHook


async def _summarize(session: Session, access: ModelAccess, turn_id: str, meter: Meter) -> str:
    items = [msgspec.Raw(entry) for entry in session.history]
    prompt = msgspec.Raw(msgspec.json.encode(message("user", PROMPT)))
    provider = await access.provider(session.settings.provider)
    while True:
        request = msgspec.structs.replace(
            access.request(session, (), None), input=[*items, prompt], parallel_tool_calls=False
        )
        text = ""
        admission = access.admission()
        try:
            stream = open_stream(
                provider,
                request,
                admission.headers,
                access.client,
                access.turn_headers(session, turn_id),
                admission=admission,
            )
            async with aclosing(stream) as events:
                async for event in events:
                    if isinstance(event, ItemDone) and event.item.get("type") == "message":
                        text += "".join(part.get("text", "") for part in event.item.get("content", ()))
                    elif isinstance(event, Completed):
                        usage = event.usage
                        meter.tell_usage(None if usage is None else wire_usage(usage))
        except ContextWindowError:
            # Even the summing up does not fit: the oldest goes first.
            if not items:
                raise
            meter.tell_full()
            items = items[max(1, len(items) // 4) :]
            continue
        return text


def _user_messages(history: list[bytes]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    size = 0
    for raw in reversed(history):
        item = msgspec.json.decode(raw)
        if item.get("type") != "message" or item.get("role") != "user":
            continue
        text = str(item.get("content", [{}])[0].get("text", ""))
        if text.startswith(NOT_SAID):
            continue
        size += len(raw)
        if len(kept) == KEPT_MESSAGES or size > KEPT_BYTES:
            break
        kept.append(item)
    kept.reverse()
    return kept
