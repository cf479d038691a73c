"""Thread items in the form of a paginated file (`item_completed`), to and from the wire form.

The kinds are named in PascalCase, fields in snake_case, paths of commands and images are file:// URLs, a command is
its words, a duration is seconds and nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from protocol.items import (
    AgentMessageItem,
    CommandExecutionItem,
    ContextCompactionItem,
    FileChangeItem,
    FileUpdateChange,
    ImageViewItem,
    PlanItem,
    ReasoningItem,
    ThreadItem,
    UserInput,
    UserMessageItem,
    WebSearchItem,
)
from rollouts.policy import camel_keys, snake_keys
from rollouts.shellwords import join_words, split_words

__all__ = [
    "changes_of",
    "content_of",
    "item_of",
    "stored_changes",
    "stored_content",
    "stored_item",
    "web_action_of",
]

_STATUS = {"inProgress": "in_progress"}
_SOURCES = {
    "agent": "agent",
    "user_shell": "userShell",
    "unified_exec_startup": "unifiedExecStartup",
    "unified_exec_interaction": "unifiedExecInteraction",
}
_STORED_SOURCES = {wire: stored for stored, wire in _SOURCES.items()}
_ACTIONS = {"list_files": "listFiles"}
_STORED_ACTIONS = {wire: stored for stored, wire in _ACTIONS.items()}
_INPUTS = {"local_image": "localImage", "local_audio": "localAudio"}
_STORED_INPUTS = {wire: stored for stored, wire in _INPUTS.items()}
_WEB_ACTIONS = {"open_page": "openPage", "find_in_page": "findInPage"}
_STORED_WEB_ACTIONS = {wire: stored for stored, wire in _WEB_ACTIONS.items()}
_WEB_FIELDS = {"search": ("query", "queries"), "openPage": ("url",), "findInPage": ("url", "pattern")}
_MOVED = "\n\nMoved to: "
_NANOS = 1_000_000_000


# --- to the file ----------------------------------------------------------------------------------


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
            diff = change.diff.removesuffix(f"{_MOVED}{move}") if move else change.diff
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
    if item.duration_ms is not None:
        secs, ms = divmod(max(0, item.duration_ms), 1000)
        stored["duration"] = {"secs": secs, "nanos": ms * 1_000_000}
    return stored


def _stored_web_action(action: Any, query: str) -> dict[str, Any]:
    if not isinstance(action, dict):
        return {"type": "search", "query": query}
    kind = action.get("type")
    fields = {key: value for key, value in action.items() if value is not None}
    return {**fields, "type": _STORED_WEB_ACTIONS.get(kind, kind) if isinstance(kind, str) else "other"}


def _url(path: str) -> str:
    return "file://" + quote(path)


# --- from the file --------------------------------------------------------------------------------


def item_of(
    stored: Any, started_at_ms: int | None = None, completed_at_ms: int | None = None
) -> ThreadItem | None:
    """The wire form; None for a kind that is not known here or that lacks what it must have."""
    if not isinstance(stored, dict):
        return None
    convert = _READERS.get(str(stored.get("type")))
    if convert is None:
        return None
    try:
        fields = convert(stored)
        wire = {"id": stored["id"], "startedAtMs": started_at_ms, "completedAtMs": completed_at_ms, **fields}
        item: ThreadItem = msgspec.convert(wire, ThreadItem)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return item


def content_of(stored: Any) -> list[dict[str, Any]]:
    """Parts of a user message in wire form (as plain objects, not yet checked)."""
    content = []
    for part in stored:
        fields = dict(part)
        kind = fields["type"] = _INPUTS.get(part["type"], part["type"])
        if kind == "text":
            fields["text_elements"] = camel_keys(part.get("text_elements") or [])
        elif kind in {"image", "audio"}:
            for name, wire in ((f"{kind}_url", "url"), ("file_id", "fileId")):
                if name in fields:
                    fields[wire] = fields.pop(name)
        content.append(fields)
    return content


def changes_of(stored: dict[str, Any]) -> list[dict[str, Any]]:
    changes = []
    for path, change in sorted(stored.items()):  # the peer shows them in this order
        if change["type"] == "update":
            move = change.get("move_path")
            diff = change["unified_diff"] + (f"{_MOVED}{move}" if move else "")
            changes.append({"path": path, "kind": {"type": "update", "move_path": move}, "diff": diff})
        else:
            changes.append({"path": path, "kind": {"type": change["type"]}, "diff": change["content"]})
    return changes


def web_action_of(action: Any) -> dict[str, Any] | None:
    if not isinstance(action, dict):
        return None
    kind = str(action.get("type"))
    kind = _WEB_ACTIONS.get(kind, kind)
    if kind not in _WEB_FIELDS:
        return {"type": "other"}
    return {"type": kind, **{key: action.get(key) for key in _WEB_FIELDS[kind]}}


def _user(stored: dict[str, Any]) -> dict[str, Any]:
    content = content_of(stored["content"])
    return {"type": "userMessage", "clientId": stored.get("client_id"), "content": content}


def _agent(stored: dict[str, Any]) -> dict[str, Any]:
    text = "".join(part.get("text", "") for part in stored["content"])
    memory = stored.get("memory_citation")
    return {
        "type": "agentMessage",
        "text": text,
        "phase": stored.get("phase"),
        "memoryCitation": camel_keys(memory),
    }


def _reasoning(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "reasoning",
        "summary": stored.get("summary_text") or [],
        "content": stored.get("raw_content") or [],
    }


def command_fields(stored: dict[str, Any]) -> dict[str, Any]:
    """The wire fields of a command, from an item or from an `exec_command_end` event."""
    actions = []
    for parsed in stored.get("parsed_cmd") or []:
        kind = _ACTIONS.get(parsed["type"], parsed["type"])
        fields = {key: parsed[key] for key in ("name", "query", "path") if key in parsed}
        actions.append({"type": kind, "command": parsed["cmd"], **fields})
    duration, status = stored.get("duration"), stored["status"]
    return {
        "type": "commandExecution",
        "command": join_words(stored["command"]),
        "cwd": _path(stored["cwd"]),
        "processId": stored.get("process_id"),
        "source": _SOURCES.get(stored.get("source") or "agent", "agent"),
        "status": "inProgress" if status == "in_progress" else status,
        "commandActions": actions,
        "aggregatedOutput": stored.get("aggregated_output"),
        "exitCode": stored.get("exit_code"),
        "durationMs": (duration["secs"] * _NANOS + duration["nanos"]) // 1_000_000 if duration else None,
    }


def _files(stored: dict[str, Any]) -> dict[str, Any]:
    status = stored.get("status") or "completed"
    status = "inProgress" if status == "in_progress" else status
    return {"type": "fileChange", "changes": changes_of(stored["changes"]), "status": status}


def _web(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "webSearch",
        "query": stored.get("query", ""),
        "action": web_action_of(stored.get("action")),
    }


def _path(url: str) -> str:
    return unquote(url.removeprefix("file://")) if url.startswith("file://") else url


_READERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "UserMessage": _user,
    "AgentMessage": _agent,
    "Reasoning": _reasoning,
    "CommandExecution": command_fields,
    "FileChange": _files,
    "Plan": lambda stored: {"type": "plan", "text": stored["text"]},
    "WebSearch": _web,
    "ImageView": lambda stored: {"type": "imageView", "path": _path(stored["path"])},
    "ContextCompaction": lambda _: {"type": "contextCompaction"},
}
