"""Thread items as they stand in a paginated file (`item_completed`), read into the wire form.

The kinds are named in PascalCase, fields in snake_case, paths of commands and images are file:// URLs, a command is
its words, a duration is seconds and nanoseconds. `rollouts.stored_items` is the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from protocol.items import ThreadItem
from rollouts.policy import camel_keys
from rollouts.reviews import hint_of, review_text
from rollouts.shellwords import join_words

__all__ = [
    "ACTIONS",
    "INPUTS",
    "MOVED",
    "SOURCES",
    "WEB_ACTIONS",
    "changes_of",
    "command_fields",
    "content_of",
    "item_of",
    "query_of",
    "web_action_of",
]

# Words of the file and what they are on the wire, where they differ.
SOURCES = {
    "agent": "agent",
    "user_shell": "userShell",
    "unified_exec_startup": "unifiedExecStartup",
    "unified_exec_interaction": "unifiedExecInteraction",
}
ACTIONS = {"list_files": "listFiles"}
INPUTS = {"local_image": "localImage", "local_audio": "localAudio"}
WEB_ACTIONS = {"open_page": "openPage", "find_in_page": "findInPage"}
# How the wire tells in the diff that a file was moved too.
MOVED = "\n\nMoved to: "
_WEB_FIELDS = {"search": ("query", "queries"), "openPage": ("url",), "findInPage": ("url", "pattern")}
_NANOS = 1_000_000_000


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
        kind = fields["type"] = INPUTS.get(part["type"], part["type"])
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
            diff = change["unified_diff"] + (f"{MOVED}{move}" if move else "")
            changes.append({"path": path, "kind": {"type": "update", "move_path": move}, "diff": diff})
        else:
            changes.append({"path": path, "kind": {"type": change["type"]}, "diff": change["content"]})
    return changes


def web_action_of(action: Any) -> dict[str, Any] | None:
    if not isinstance(action, dict):
        return None
    kind = str(action.get("type"))
    kind = WEB_ACTIONS.get(kind, kind)
    if kind not in _WEB_FIELDS:
        return {"type": "other"}
    return {"type": kind, **{key: action.get(key) for key in _WEB_FIELDS[kind]}}


def query_of(action: dict[str, Any]) -> str:
    """A web action in wire form, in a few words."""
    match action.get("type"):
        case "search":
            queries = action.get("queries") or []
            query = action.get("query") or (queries[0] if queries else "")
            return f"{query} ..." if not action.get("query") and len(queries) > 1 else str(query)
        case "openPage":
            return str(action.get("url") or "")
        case "findInPage":
            pattern, url = action.get("pattern"), action.get("url")
            return f"'{pattern}' in {url}" if pattern and url else str(pattern or url or "")
        case _:
            return ""


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
        kind = ACTIONS.get(parsed["type"], parsed["type"])
        fields = {key: parsed[key] for key in ("name", "query", "path") if key in parsed}
        actions.append({"type": kind, "command": parsed["cmd"], **fields})
    duration, status = stored.get("duration"), stored["status"]
    return {
        "type": "commandExecution",
        "command": join_words(stored["command"]),
        "cwd": _path(stored["cwd"]),
        "processId": stored.get("process_id"),
        "source": SOURCES.get(stored.get("source") or "agent", "agent"),
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


def _dynamic(stored: dict[str, Any]) -> dict[str, Any]:
    duration, status = stored.get("duration"), stored["status"]
    return {
        "type": "dynamicToolCall",
        "namespace": stored.get("namespace"),
        "tool": stored["tool"],
        "arguments": stored.get("arguments"),
        "status": "inProgress" if status == "in_progress" else status,
        "contentItems": stored.get("content_items"),
        "success": stored.get("success"),
        "durationMs": (duration["secs"] * _NANOS + duration["nanos"]) // 1_000_000 if duration else None,
    }


def _mcp(stored: dict[str, Any]) -> dict[str, Any]:
    duration, status, result = stored.get("duration"), stored["status"], stored.get("result")
    return {
        "type": "mcpToolCall",
        "server": stored["server"],
        "tool": stored["tool"],
        "arguments": stored.get("arguments"),
        "status": "inProgress" if status == "in_progress" else status,
        "readOnlyHint": stored.get("readOnlyHint"),
        "result": result
        and {
            "content": result.get("content") or [],
            "structuredContent": result.get("structuredContent"),
            "_meta": result.get("_meta"),
        },
        "error": stored.get("error"),
        "durationMs": (duration["secs"] * _NANOS + duration["nanos"]) // 1_000_000 if duration else None,
    }


def _image(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "imageGeneration",
        "status": stored["status"],
        "revisedPrompt": stored.get("revised_prompt"),
        "result": stored.get("result") or "",
        "savedPath": stored.get("saved_path"),
    }


def _hook(stored: dict[str, Any]) -> dict[str, Any]:
    return {"type": "hookPrompt", "fragments": camel_keys(stored["fragments"])}


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
    "DynamicToolCall": _dynamic,
    "McpToolCall": _mcp,
    "Sleep": lambda stored: {"type": "sleep", "durationMs": stored["duration_ms"]},
    "ImageGeneration": _image,
    "HookPrompt": _hook,
    "FunctionCallOutput": lambda stored: {
        "type": "functionCallOutput",
        **{key: stored.get(key) for key in ("name", "namespace", "output")},
    },
    "EnteredReviewMode": lambda stored: {
        "type": "enteredReviewMode",
        "review": stored.get("user_facing_hint") or hint_of(stored.get("target")),
    },
    "ExitedReviewMode": lambda stored: {
        "type": "exitedReviewMode",
        "review": review_text(stored.get("review_output")),
    },
    "ContextCompaction": lambda _: {"type": "contextCompaction"},
}
