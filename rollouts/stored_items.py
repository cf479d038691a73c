"""Thread items put into the form of a paginated file; see `rollouts.items` for what that is."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from protocol.file_changes import FileUpdateChange
from protocol.items import (
    AgentMessageItem,
    CommandExecutionItem,
    ContextCompactionItem,
    DynamicToolCallItem,
    EnteredReviewModeItem,
    ExitedReviewModeItem,
    FileChangeItem,
    FunctionCallOutputItem,
    HookPromptItem,
    ImageGenerationItem,
    ImageViewItem,
    McpToolCallItem,
    PlanItem,
    ReasoningItem,
    SleepItem,
    ThreadItem,
    UserMessageItem,
    WebSearchItem,
)
from protocol.user_input import UserInput
from rollouts.items import ACTIONS, INPUTS, MOVED, SOURCES, WEB_ACTIONS
from rollouts.policy import snake_keys
from rollouts.reviews import NO_OUTPUT, review_output
from rollouts.shellwords import split_words

__all__ = ["stored_content", "stored_item"]

_STATUS = {"inProgress": "in_progress"}
_STORED_SOURCES = {wire: stored for stored, wire in SOURCES.items()}
_STORED_ACTIONS = {wire: stored for stored, wire in ACTIONS.items()}
_STORED_INPUTS = {wire: stored for stored, wire in INPUTS.items()}
_STORED_WEB_ACTIONS = {wire: stored for stored, wire in WEB_ACTIONS.items()}


def stored_item(item: ThreadItem) -> dict[str, Any]:
    match item:
        case UserMessageItem():
            stored: dict[str, Any] = {"type": "UserMessage", "id": item.id}
            if item.client_id is not None:
                stored["client_id"] = item.client_id
            return {**stored, "content": stored_content(item.content)}
        case AgentMessageItem():
            stored = {"type": "AgentMessage", "id": item.id, "content": [{"type": "Text", "text": item.text}]}
            return {**stored, "phase": item.phase} if item.phase else stored
        case ReasoningItem():
            return {
                "type": "Reasoning",
                "id": item.id,
                "summary_text": item.summary,
                "raw_content": item.content,
            }
        case CommandExecutionItem():
            return _stored_command(item)
        case FileChangeItem():
            return {
                "type": "FileChange",
                "id": item.id,
                "changes": stored_changes(item.changes),
                "status": _STATUS.get(item.status, item.status),
                "stdout": "",
                "stderr": "",
            }
        case PlanItem():
            return {"type": "Plan", "id": item.id, "text": item.text}
        case WebSearchItem():
            action = _stored_web_action(item.action, item.query)
            return {"type": "WebSearch", "id": item.id, "query": item.query, "action": action}
        case ImageViewItem():
            return {"type": "ImageView", "id": item.id, "path": _url(item.path)}
        case ContextCompactionItem():
            return {"type": "ContextCompaction", "id": item.id}
        case _:
            return _stored_other(item)


_Other = (
    DynamicToolCallItem
    | EnteredReviewModeItem
    | ExitedReviewModeItem
    | FunctionCallOutputItem
    | HookPromptItem
    | ImageGenerationItem
    | McpToolCallItem
    | SleepItem
)


def _stored_other(item: _Other) -> dict[str, Any]:
    match item:
        case DynamicToolCallItem():
            return _stored_dynamic(item)
        case McpToolCallItem():
            return _stored_mcp(item)
        case EnteredReviewModeItem():
            target = {"type": "custom", "instructions": item.review}
            return {
                "type": "EnteredReviewMode",
                "id": item.id,
                "target": target,
                "user_facing_hint": item.review,
            }
        case ExitedReviewModeItem():
            output = None if item.review == NO_OUTPUT else review_output(item.review)
            return {"type": "ExitedReviewMode", "id": item.id, "review_output": output}
        case HookPromptItem():
            fragments = snake_keys(msgspec.to_builtins(item.fragments))
            return {"type": "HookPrompt", "id": item.id, "fragments": fragments}
        case FunctionCallOutputItem():
            stored: dict[str, Any] = {"type": "FunctionCallOutput", "id": item.id, "name": item.name}
            return {**stored, "namespace": item.namespace, "output": item.output}
        case ImageGenerationItem():
            stored = {"type": "ImageGeneration", "id": item.id, "status": item.status, "result": item.result}
            return {**stored, "revised_prompt": item.revised_prompt, "saved_path": item.saved_path}
        case SleepItem():
            return {"type": "Sleep", "id": item.id, "duration_ms": item.duration_ms}


def stored_content(content: list[UserInput]) -> list[dict[str, Any]]:
    stored = []
    for part in msgspec.to_builtins(content):
        fields = {key: value for key, value in part.items() if value is not None}
        kind = fields["type"] = _STORED_INPUTS.get(part["type"], part["type"])
        if kind == "text":
            fields["text_elements"] = snake_keys(part["text_elements"])
        elif kind in {"image", "audio"}:
            for wire, name in (("url", f"{kind}_url"), ("fileId", "file_id")):
                if wire in fields:
                    fields[name] = fields.pop(wire)
        stored.append(fields)
    return stored


def stored_changes(changes: list[FileUpdateChange]) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    for change in changes:
        kind = msgspec.to_builtins(change.kind)
        if kind["type"] == "update":
            move = kind.get("move_path")
            diff = change.diff.removesuffix(f"{MOVED}{move}") if move else change.diff
            stored[change.path] = {"type": "update", "unified_diff": diff, "move_path": move}
        else:
            stored[change.path] = {"type": kind["type"], "content": change.diff}
    return stored


def _stored_command(item: CommandExecutionItem) -> dict[str, Any]:
    parsed = []
    for action in msgspec.to_builtins(item.command_actions):
        fields = {"type": _STORED_ACTIONS.get(action["type"], action["type"]), "cmd": action["command"]}
        parsed.append({**fields, **{key: action[key] for key in ("name", "query", "path") if key in action}})
    stored: dict[str, Any] = {"type": "CommandExecution", "id": item.id}
    if item.process_id is not None:
        stored["process_id"] = item.process_id
    stored |= {
        "command": split_words(item.command),
        "cwd": _url(item.cwd),
        "parsed_cmd": parsed,
        "source": _STORED_SOURCES[item.source],
        "status": _STATUS.get(item.status, item.status),
    }
    if item.aggregated_output is not None:
        stored["aggregated_output"] = item.aggregated_output
    if item.exit_code is not None:
        stored["exit_code"] = item.exit_code
    return stored | _duration(item.duration_ms)


def _stored_dynamic(item: DynamicToolCallItem) -> dict[str, Any]:
    stored: dict[str, Any] = {"type": "DynamicToolCall", "id": item.id}
    if item.namespace is not None:
        stored["namespace"] = item.namespace
    stored |= {
        "tool": item.tool,
        "arguments": item.arguments,
        "status": _STATUS.get(item.status, item.status),
        "content_items": msgspec.to_builtins(item.content_items),
        "success": item.success,
    }
    return stored | _duration(item.duration_ms)


def _stored_mcp(item: McpToolCallItem) -> dict[str, Any]:
    """The names within are those of the protocol, as the peer stores them."""
    stored: dict[str, Any] = {
        "type": "McpToolCall",
        "id": item.id,
        "server": item.server,
        "tool": item.tool,
        "arguments": item.arguments,
    }
    if item.read_only_hint is not None:
        stored["readOnlyHint"] = item.read_only_hint
    stored["status"] = _STATUS.get(item.status, item.status)
    if item.result is not None:
        result = msgspec.to_builtins(item.result)
        stored["result"] = {key: value for key, value in result.items() if value is not None}
    if item.error is not None:
        stored["error"] = {"message": item.error.message}
    return stored | _duration(item.duration_ms)


def _duration(milliseconds: int | None) -> dict[str, Any]:
    if milliseconds is None:
        return {}
    secs, ms = divmod(max(0, milliseconds), 1000)
    return {"duration": {"secs": secs, "nanos": ms * 1_000_000}}


def _stored_web_action(action: Any, query: str) -> dict[str, Any]:
    if not isinstance(action, dict):
        return {"type": "search", "query": query}
    kind = action.get("type")
    fields = {key: value for key, value in action.items() if value is not None}
    return {**fields, "type": _STORED_WEB_ACTIONS.get(kind, kind) if isinstance(kind, str) else "other"}


def _url(path: str) -> str:
    return "file://" + quote(path)
