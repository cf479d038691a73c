"""The model's input that a rollout leaves behind: what the next request of the thread begins with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rollouts.lines import Compacted, ItemTag, decode_as

__all__ = ["Prompt", "first_words", "is_call_or_output", "paired"]

_OUTPUTS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "local_shell_call": "local_shell_call_output",
}
_OUTPUT_KINDS = frozenset(_OUTPUTS.values()) | {"function_call_output"}
# Not input: snapshots are the peer's own notes, and tools are declared anew with every request.
_NOT_INPUT = frozenset({"ghost_snapshot", "additional_tools", "compaction_trigger", "other"})
# Bookkeeping of the peer inside an item, which it takes out itself before a request.
_PRIVATE_KEY = "internal_chat_message_metadata_passthrough"
_PRIVATE_MARK = f'"{_PRIVATE_KEY}"'.encode()
# What a call is answered with that never was: its process died or its turn was interrupted in between.
_ABORTED = "aborted"
# Messages of role user that no user wrote.
_CONTEXT_STARTS = (
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md",
    "<turn_aborted>",
    "<skill>",
    "<user_shell_command>",
    "<codex_internal_context",
)


class Prompt:
    def __init__(self) -> None:
        self._items: list[tuple[ItemTag, bytes]] = []

    def add(self, payload: bytes | msgspec.Raw) -> None:
        tag = decode_as(ItemTag, payload)
        if tag is not None and tag.type not in _NOT_INPUT:
            self._items.append((tag, bytes(payload)))

    def compact(self, compacted: Compacted) -> None:
        """Puts the summary in the place of all so far."""
        old, self._items = self._items, []
        if compacted.replacement_history is not None:
            for raw in compacted.replacement_history:
                self.add(raw)
            return
        # Files of 0.58 keep only the summary: user messages stay, answers and tool calls go.
        self._items = [(tag, raw) for tag, raw in old if tag.role in {"user", "developer"}]
        if compacted.message:
            part = {"type": "input_text", "text": compacted.message}
            self.add(msgspec.json.encode({"type": "message", "role": "user", "content": [part]}))

    def drop_turns(self, count: int) -> None:
        """Forgets all from the last `count`-th user message on."""
        for place in reversed(range(len(self._items))):
            if count <= 0:
                return
            if _is_from_user(*self._items[place]):
                del self._items[place:]
                count -= 1

    def items(self) -> list[bytes]:
        """The items as JSON, every call with an output and no output without a call: the model's API insists."""
        answered = {tag.call_id for tag, _ in self._items if tag.type in _OUTPUT_KINDS}
        called = {tag.call_id for tag, _ in self._items if tag.type in _OUTPUTS}
        result = []
        for tag, raw in self._items:
            if tag.type in _OUTPUT_KINDS and tag.call_id not in called:
                continue
            result.append(_public(raw))
            if tag.type in _OUTPUTS and tag.call_id not in answered and tag.call_id is not None:
                output = {"type": _OUTPUTS[tag.type], "call_id": tag.call_id, "output": _ABORTED}
                result.append(msgspec.json.encode(output))
        return result


def paired(items: Iterable[bytes]) -> list[bytes]:
    """Model items with what calls and outputs need to go together."""
    prompt = Prompt()
    for item in items:
        prompt.add(item)
    return prompt.items()


def is_call_or_output(kind: str) -> bool:
    """Whether items of this type belong together in pairs."""
    return kind in _OUTPUTS or kind in _OUTPUT_KINDS


def first_words(items: list[bytes]) -> str:
    """The text of the first message among these items that a user wrote."""
    for raw in items:
        tag = decode_as(ItemTag, raw)
        if tag is not None and _is_from_user(tag, raw):
            content = (decode_as(dict[str, Any], raw) or {}).get("content")
            parts = content if isinstance(content, list) else []
            return "".join(
                part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
    return ""


def _public(raw: bytes) -> bytes:
    if _PRIVATE_MARK not in raw:
        return raw
    fields = decode_as(dict[str, msgspec.Raw], raw)
    if fields is None or _PRIVATE_KEY not in fields:
        return raw
    del fields[_PRIVATE_KEY]
    return msgspec.json.encode(fields)


def _is_from_user(tag: ItemTag, raw: bytes) -> bool:
    if tag.type != "message" or tag.role != "user":
        return False
    fields = decode_as(dict[str, Any], raw) or {}
    content = fields.get("content")
    first = content[0] if isinstance(content, list) and content else None
    text = first.get("text") if isinstance(first, dict) else None
    return not (isinstance(text, str) and text.lstrip().startswith(_CONTEXT_STARTS))
