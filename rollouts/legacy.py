"""Items in the form of a file of 0.58: events without ids, one per message, that a reader counts.

What 0.169 itself appends to such a file is what is written here, so that both read a continued thread alike.
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.items import (
    AgentMessageItem,
    CommandExecutionItem,
    ContextCompactionItem,
    FileChangeItem,
    ImageViewItem,
    ReasoningItem,
    ThreadItem,
    UserMessageItem,
    WebSearchItem,
)
from protocol.user_input import TextInput
from rollouts.items import changes_of, command_fields, web_action_of
from rollouts.policy import camel_keys
from rollouts.stored_items import stored_content, stored_item

__all__ = ["ITEM_EVENTS", "events_of", "item_of_event"]


def events_of(item: ThreadItem, turn_id: str) -> list[dict[str, Any]] | None:
    """The `event_msg` payloads of an item; None for a kind that is written as `item_completed` here too."""
    match item:
        case UserMessageItem():
            return [_user_message(item)]
        case AgentMessageItem():
            return [
                {"type": "agent_message", "message": item.text, "phase": item.phase, "memory_citation": None}
            ]
        case ReasoningItem():
            summary = [{"type": "agent_reasoning", "text": text} for text in item.summary]
            return summary + [{"type": "agent_reasoning_raw_content", "text": text} for text in item.content]
        case CommandExecutionItem():
            return [_command_end(item, turn_id)]
        case FileChangeItem():
            fields = stored_item(item)
            end = {key: fields[key] for key in ("stdout", "stderr", "changes", "status")}
            success = item.status == "completed"
            return [
                {"type": "patch_apply_end", "call_id": item.id, "turn_id": turn_id, "success": success, **end}
            ]
        case WebSearchItem():
            fields = stored_item(item)
            return [
                {
                    "type": "web_search_end",
                    "call_id": item.id,
                    "query": item.query,
                    "action": fields["action"],
                }
            ]
        case ImageViewItem():
            return [{"type": "view_image_tool_call", "call_id": item.id, "path": item.path}]
        case ContextCompactionItem():
            return [{"type": "context_compacted"}]
        case _:
            return None


def _user_message(item: UserMessageItem) -> dict[str, Any]:
    parts = stored_content(item.content)
    event: dict[str, Any] = {
        "type": "user_message",
        "message": "".join(part.text for part in item.content if isinstance(part, TextInput)),
        "images": [part["image_url"] for part in parts if part["type"] == "image" and "image_url" in part],
        "local_images": [part["path"] for part in parts if part["type"] == "local_image"],
        "text_elements": [element for part in parts for element in part.get("text_elements", [])],
    }
    return event if item.client_id is None else {**event, "client_id": item.client_id}


def _command_end(item: CommandExecutionItem, turn_id: str) -> dict[str, Any]:
    fields = stored_item(item)
    output = item.aggregated_output or ""
    return {
        "type": "exec_command_end",
        "call_id": item.id,
        "process_id": item.process_id,
        "turn_id": turn_id,
        "command": fields["command"],
        "cwd": item.cwd,
        "parsed_cmd": fields["parsed_cmd"],
        "source": fields["source"],
        "stdout": output,
        "stderr": "",
        "aggregated_output": output,
        "exit_code": -1 if item.exit_code is None else item.exit_code,
        "duration": fields.get("duration", {"secs": 0, "nanos": 0}),
        "formatted_output": output,
        "status": fields["status"],
    }


# --- from the file --------------------------------------------------------------------------------

ITEM_EVENTS = frozenset(
    {
        "user_message",
        "agent_message",
        "agent_reasoning",
        "agent_reasoning_raw_content",
        "exec_command_end",
        "patch_apply_end",
        "web_search_end",
        "view_image_tool_call",
        "context_compacted",
    }
)


def item_of_event(event: Any, counted_id: str) -> ThreadItem | None:
    """An item; `counted_id` is the id of one that has none in the file. None if the event is not whole."""
    if not isinstance(event, dict):
        return None
    try:
        wire = _wire_of(event, str(event.get("call_id") or counted_id))
        item: ThreadItem = msgspec.convert(wire, ThreadItem)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return item


def _wire_of(event: dict[str, Any], item_id: str) -> dict[str, Any]:
    match event["type"]:
        case "user_message":
            return {"type": "userMessage", "id": item_id, **_user_fields(event)}
        case "agent_message":
            text, memory = event["message"], camel_keys(event.get("memory_citation"))
            return {
                "type": "agentMessage",
                "id": item_id,
                "text": text,
                "phase": event.get("phase"),
                "memoryCitation": memory,
            }
        case "agent_reasoning":
            return {"type": "reasoning", "id": item_id, "summary": [event["text"]]}
        case "agent_reasoning_raw_content":
            return {"type": "reasoning", "id": item_id, "content": [event["text"]]}
        case "exec_command_end":
            done = "completed" if event.get("exit_code") == 0 else "failed"
            return {"id": item_id, **command_fields({"status": done, **event})}
        case "patch_apply_end":
            status = event.get("status") or ("completed" if event.get("success") else "failed")
            return {
                "type": "fileChange",
                "id": item_id,
                "changes": changes_of(event["changes"]),
                "status": status,
            }
        case "web_search_end":
            action = web_action_of(event.get("action"))
            return {"type": "webSearch", "id": item_id, "query": event.get("query", ""), "action": action}
        case "view_image_tool_call":
            return {"type": "imageView", "id": item_id, "path": event["path"]}
        case _:
            return {"type": "contextCompaction", "id": item_id}


def _user_fields(event: dict[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if event["message"]:
        elements = camel_keys(event.get("text_elements") or [])
        content.append({"type": "text", "text": event["message"], "text_elements": elements})
    content += [{"type": "image", "url": url} for url in event.get("images") or []]
    content += [{"type": "localImage", "path": path} for path in event.get("local_images") or []]
    return {"clientId": event.get("client_id"), "content": content}
