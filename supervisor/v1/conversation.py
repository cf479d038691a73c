"""One conversation: what happens on its thread, in the words of the old protocol.

Events are named and shaped as in recordings of release 0.58. What that release did not know (plan deltas, statuses,
goals ...) is not told; nor is what only its core knew (`background_event`, raw response items).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

from protocol.base import Wire
from protocol.v1.events import ApplyPatchApprovalParams, ExecCommandApprovalParams
from rollouts.shellwords import split_words

__all__ = ["Conversation", "history"]

Event = dict[str, Any]
REJECTED = "exec command rejected by user"
_NO_LIMITS = {"primary": None, "secondary": None}
_ACTIONS = {"listFiles": "list_files"}
_STEPS = {"inProgress": "in_progress"}
_NANOS = 1_000_000


class Conversation:
    """`window`: the model's context window in tokens, if known."""

    def __init__(self, thread_id: str, window: int | None) -> None:
        self.id = thread_id
        self.turn = "0"
        """The submission that the running turn belongs to."""
        self.turn_id: str | None = None
        """Today's id of the turn that began last, once it is known."""
        self._window = window
        self._submitted = 0
        self._running = False
        self._ends: list[asyncio.Future[str]] = []
        self._usage: Event | None = None
        self._limits: Event = _NO_LIMITS
        self._patches: dict[str, dict[str, Any]] = {}
        self._begun: set[str] = set()
        self._last_message: str | None = None

    # --- what the client does --------------------------------------------------------------------------------

    def submit(self) -> str:
        """Count one thing that the client submitted: input, a decision, an interrupt."""
        number = str(self._submitted)
        self._submitted += 1
        if not self._running:
            self.turn = number
        return number

    def end(self) -> asyncio.Future[str]:
        """The status with which the running turn ends."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ends.append(future)
        return future

    def over(self) -> None:
        self._running = False
        ends, self._ends = self._ends, []
        for end in ends:
            if not end.done():
                end.set_result("over")

    # --- what it is asked --------------------------------------------------------------------------------------

    def question(self, old: str, params: dict[str, Any]) -> tuple[Event, Wire]:
        """The event that comes before a question, and its params."""
        call = params["itemId"]
        if old == "applyPatchApproval":
            changes = self._patches.get(call, {})
            event = {"type": "apply_patch_approval_request", "call_id": call, "changes": changes}
            return event, ApplyPatchApprovalParams(
                conversation_id=self.id,
                call_id=call,
                file_changes=changes,
                reason=params.get("reason"),
                grant_root=params.get("grantRoot"),
            )
        question = ExecCommandApprovalParams(
            conversation_id=self.id,
            call_id=call,
            command=split_words(params.get("command") or ""),
            cwd=params.get("cwd") or "",
            reason=params.get("reason"),
            parsed_cmd=_parsed(params.get("commandActions") or []),
        )
        event = {
            "type": "exec_approval_request",
            "call_id": call,
            "command": question.command,
            "cwd": question.cwd,
            "reason": question.reason,
            "parsed_cmd": question.parsed_cmd,
        }
        return event, question

    def decided(self, call: str, decision: str) -> Iterator[Event]:
        if call in self._patches and decision in ("approved", "approved_for_session"):
            yield self._patch_begin(call, auto=False)

    # --- what happens ----------------------------------------------------------------------------------------------

    def events(self, method: str, params: dict[str, Any]) -> Iterator[Event]:
        """The old events for a notification of today."""
        if method == "item/started":
            yield from self._started(params["item"])
        elif method == "item/completed":
            yield from self._completed(params["item"])
        elif method == "item/agentMessage/delta":
            yield from self._delta("agent_message_content_delta", "agent_message_delta", params)
        elif method == "item/reasoning/summaryPartAdded":
            yield {"type": "agent_reasoning_section_break"}
        elif method == "item/reasoning/summaryTextDelta":
            yield from self._delta("reasoning_content_delta", "agent_reasoning_delta", params)
        elif method == "item/reasoning/textDelta":
            yield from self._delta("reasoning_raw_content_delta", "agent_reasoning_raw_content_delta", params)
        elif method == "item/commandExecution/outputDelta":
            chunk = base64.b64encode(params["delta"].encode()).decode()
            yield {
                "type": "exec_command_output_delta",
                "call_id": params["itemId"],
                "stream": "stdout",
                "chunk": chunk,
            }
        elif method == "thread/tokenUsage/updated":
            usage = params["tokenUsage"]
            self._window = usage["modelContextWindow"] or self._window
            self._usage = {
                "total_token_usage": _tokens(usage["total"]),
                "last_token_usage": _tokens(usage["last"]),
                "model_context_window": self._window,
            }
            yield self._token_count()
        elif method == "turn/diff/updated":
            yield {"type": "turn_diff", "unified_diff": params["diff"]}
        elif method == "turn/plan/updated":
            plan = [
                {"step": step["step"], "status": _STEPS.get(step["status"], step["status"])}
                for step in params["plan"]
            ]
            yield {"type": "plan_update", "explanation": params["explanation"], "plan": plan}
        elif method == "warning":
            yield {"type": "warning", "message": params["message"]}
        elif method == "error":
            kind = "stream_error" if params["willRetry"] else "error"
            yield {"type": kind, "message": params["error"]["message"]}
        elif method == "turn/started":
            self._running = True
            self.turn_id = params["turn"]["id"]
            self._last_message = None
            yield {"type": "task_started", "model_context_window": self._window}
        elif method == "turn/completed":
            if params["turn"]["status"] == "interrupted":
                yield {"type": "turn_aborted", "reason": "interrupted"}
            else:
                yield {"type": "task_complete", "last_agent_message": self._last_message}

    def _started(self, item: dict[str, Any]) -> Iterator[Event]:
        kind = item["type"]
        if kind == "userMessage":
            yield self._item("item_started", {"UserMessage": _user(item)})
        elif kind == "agentMessage":
            yield self._item("item_started", {"AgentMessage": {"id": item["id"], "content": []}})
        elif kind == "reasoning":
            begun = {"id": item["id"], "summary_text": [], "raw_content": []}
            yield self._item("item_started", {"Reasoning": begun})
        elif kind == "commandExecution":
            yield {
                "type": "exec_command_begin",
                "call_id": item["id"],
                "command": split_words(item["command"]),
                "cwd": item["cwd"],
                "parsed_cmd": _parsed(item["commandActions"]),
                "is_user_shell_command": item["source"] == "userShell",
            }
        elif kind == "fileChange":
            # Whether it is asked about is not known yet; its beginning is told then, or with its end.
            self._patches[item["id"]] = {change["path"]: _change(change) for change in item["changes"]}
        elif kind == "webSearch":
            yield {"type": "web_search_begin", "call_id": item["id"]}

    def _completed(self, item: dict[str, Any]) -> Iterator[Event]:
        kind = item["type"]
        if kind == "userMessage":
            user = _user(item)
            yield self._item("item_completed", {"UserMessage": user})
            texts = [part["text"] for part in user["content"] if part["type"] == "text"]
            images = [part["image_url"] for part in user["content"] if part["type"] == "image"]
            yield {"type": "user_message", "message": "".join(texts), "images": images}
            yield self._token_count()
        elif kind == "agentMessage":
            self._last_message = item["text"]
            done = {"id": item["id"], "content": [{"Text": {"text": item["text"]}}]}
            yield self._item("item_completed", {"AgentMessage": done})
            yield {"type": "agent_message", "message": item["text"]}
        elif kind == "reasoning":
            done = {"id": item["id"], "summary_text": item["summary"], "raw_content": item["content"]}
            yield self._item("item_completed", {"Reasoning": done})
            for text in item["summary"]:
                yield {"type": "agent_reasoning", "text": text}
            for text in item["content"]:
                yield {"type": "agent_reasoning_raw_content", "text": text}
        elif kind == "commandExecution":
            yield _command_end(item)
        elif kind == "fileChange":
            yield from self._patch_end(item)
        elif kind == "webSearch":
            yield {"type": "web_search_end", "call_id": item["id"], "query": item["query"]}
        elif kind == "imageView":
            yield {"type": "view_image_tool_call", "call_id": item["id"], "path": item["path"]}

    def _patch_begin(self, call: str, *, auto: bool) -> Event:
        self._begun.add(call)
        return {
            "type": "patch_apply_begin",
            "call_id": call,
            "auto_approved": auto,
            "changes": self._patches[call],
        }

    def _patch_end(self, item: dict[str, Any]) -> Iterator[Event]:
        call = item["id"]
        if item["status"] != "declined":
            if call not in self._begun:
                yield self._patch_begin(call, auto=True)
            success = item["status"] == "completed"
            files = "".join(f"{next(iter(c))[0].upper()} {path}\n" for path, c in self._patches[call].items())
            yield {
                "type": "patch_apply_end",
                "call_id": call,
                "stdout": f"Success. Updated the following files:\n{files}" if success else "",
                "stderr": "",
                "success": success,
            }
        self._begun.discard(call)
        self._patches.pop(call, None)

    def _item(self, kind: str, item: Event) -> Event:
        return {"type": kind, "thread_id": self.id, "turn_id": self.turn, "item": item}

    def _delta(self, kind: str, plain: str, params: dict[str, Any]) -> Iterator[Event]:
        yield {
            "type": kind,
            "thread_id": self.id,
            "turn_id": self.turn,
            "item_id": params["itemId"],
            "delta": params["delta"],
        }
        yield {"type": plain, "delta": params["delta"]}

    def _token_count(self) -> Event:
        return {"type": "token_count", "info": self._usage, "rate_limits": self._limits}


def history(turns: list[dict[str, Any]]) -> list[Event]:
    """The messages of stored turns (items in full), as a resumed conversation begins with them."""
    told: list[Event] = []
    for turn in turns:
        for item in turn["items"]:
            if item["type"] == "userMessage":
                texts = [part["text"] for part in item["content"] if part["type"] == "text"]
                told.append({"type": "user_message", "message": "".join(texts), "images": []})
            elif item["type"] == "agentMessage":
                told.append({"type": "agent_message", "message": item["text"]})
            elif item["type"] == "reasoning":
                told += [{"type": "agent_reasoning", "text": text} for text in item["summary"]]
    return told


def _user(item: dict[str, Any]) -> Event:
    return {"id": item["id"], "content": [_input(part) for part in item["content"]]}


def _input(part: dict[str, Any]) -> Event:
    if part["type"] == "image":
        return {"type": "image", "image_url": part.get("url")}
    if part["type"] == "localImage":
        return {"type": "local_image", "path": part["path"]}
    return {"type": "text", "text": part.get("text", "")}


def _parsed(actions: list[dict[str, Any]]) -> list[Event]:
    parsed = []
    for action in actions:
        rest = {key: value for key, value in action.items() if key not in ("type", "command")}
        parsed.append(
            {"type": _ACTIONS.get(action["type"], action["type"]), "cmd": action["command"], **rest}
        )
    return parsed


def _change(change: dict[str, Any]) -> Event:
    kind = change["kind"]
    if kind["type"] == "update":
        return {"update": {"unified_diff": change["diff"], "move_path": kind.get("move_path")}}
    return {kind["type"]: {"content": change["diff"]}}


def _command_end(item: dict[str, Any]) -> Event:
    declined = item["status"] == "declined"
    output = REJECTED if declined else item["aggregatedOutput"] or ""
    code = item["exitCode"]
    seconds, millis = divmod(item["durationMs"] or 0, 1000)
    return {
        "type": "exec_command_end",
        "call_id": item["id"],
        "stdout": "" if declined else output,
        "stderr": REJECTED if declined else "",
        "aggregated_output": output,
        "exit_code": -1 if code is None else code,
        "duration": {"secs": seconds, "nanos": millis * _NANOS},
        "formatted_output": output,
    }


def _tokens(usage: dict[str, int]) -> Event:
    return {
        "input_tokens": usage["inputTokens"],
        "cached_input_tokens": usage["cachedInputTokens"],
        "output_tokens": usage["outputTokens"],
        "reasoning_output_tokens": usage["reasoningOutputTokens"],
        "total_tokens": usage["totalTokens"],
    }
