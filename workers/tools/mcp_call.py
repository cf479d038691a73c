"""Calls of MCP servers' tools: the item that clients see, the approval, and the text that the model gets."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from protocol.items import McpToolCallError, McpToolCallItem, McpToolCallResult
from protocol.mcp import McpToolCallProgressNotification
from workers.mcp.errors import McpServerError
from workers.mcp.names import OfferedTool
from workers.mcp.servers import McpServers
from workers.tools import tool_output
from workers.tools.mcp_approval import NEVER, McpApproval
from workers.tools.tool import Answer, Call, Output, TurnScope

__all__ = ["McpCalls", "McpItem"]

REFUSALS = {"decline": "user rejected MCP tool call", "cancel": "user cancelled MCP tool call"}
PROGRESS_PAUSE_S = 0.05
"""Between two words of progress: more than a person can read. A flood of them is not passed on."""
Text = str | list[dict[str, Any]]


class McpItem:
    """One `mcpToolCall` from its start to its end. An interrupted turn leaves it open, as with the peer."""

    def __init__(
        self,
        scope: TurnScope,
        call: Call,
        server: str,
        tool: str,
        arguments: Any,
        *,
        read_only: bool | None = None,
    ) -> None:
        self._scope = scope
        self._told_at = 0.0
        self._untold = ""
        """The last word of progress, if it was held back."""
        self._item = McpToolCallItem(
            id=call.id,
            server=server,
            tool=tool,
            status="inProgress",
            arguments=arguments,
            read_only_hint=read_only,
        )
        scope.session.item_started(scope.turn_id, self._item)

    def failed(self, text: str, seconds: float = 0.0) -> None:
        self._item.status = "failed"
        self._item.error = McpToolCallError(message=text)
        self._complete(seconds)

    def answered(self, result: dict[str, Any], seconds: float) -> None:
        self._item.status = "failed" if result.get("isError") else "completed"
        self._item.result = McpToolCallResult(
            content=result.get("content") or [],
            structured_content=result.get("structuredContent"),
            meta=result.get("_meta"),
        )
        self._complete(seconds)

    def _complete(self, seconds: float) -> None:
        if self._untold:
            self._tell(self._untold)
        self._item.duration_ms = int(seconds * 1000)
        self._scope.session.item_completed(self._scope.turn_id, self._item)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Tell clients, but not too often, and not while they are behind: the next word of it says as much."""
        text = message or (f"{progress:g}" if total is None else f"{progress:g} of {total:g}")
        now = time.monotonic()
        if now - self._told_at < PROGRESS_PAUSE_S or self._scope.session.link.congested:
            self._untold = text
        else:
            self._told_at = now
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._untold = ""
        session = self._scope.session
        session.notify(
            "item/mcpToolCall/progress",
            McpToolCallProgressNotification(
                thread_id=session.id, turn_id=self._scope.turn_id, item_id=self._item.id, message=text
            ),
        )


class McpCalls:
    def __init__(self, servers: McpServers) -> None:
        self._servers = servers
        self._approval = McpApproval()

    async def call(self, scope: TurnScope, call: Call, tool: OfferedTool) -> Output:
        began = time.monotonic()
        try:
            arguments = msgspec.json.decode(call.arguments) if call.arguments.strip() else None
        except (msgspec.DecodeError, RecursionError) as error:
            return _failure(f"err: {error}", began)
        read_only = tool.annotations.get("readOnlyHint")
        item = McpItem(
            scope,
            call,
            tool.server,
            tool.tool,
            arguments,
            read_only=read_only if isinstance(read_only, bool) else None,
        )
        try:
            connection = self._servers.get(tool.server)
            if self._approval.needed(scope, connection.server, tool):
                refusal = NEVER
                if scope.session.settings.approval_policy != "never":
                    name = f"mcp__{tool.server}__{tool.tool}"
                    said = await scope.hooks.permission((name,), arguments, call.id)
                    if said.block is not None or said.allowed:
                        refusal = said.block or ""
                    else:
                        decision = await self._approval.ask(scope, connection.server, tool, arguments)
                        refusal = REFUSALS.get(decision, "")
                if refusal:
                    item.failed(refusal)
                    return _failure(refusal, began)
            started = time.monotonic()
            try:
                result = await connection.call_tool(tool.tool, arguments, progress=item.progress)
            except McpServerError as error:
                text = (
                    f"tool call error: tool call failed for `{tool.server}/{tool.tool}`\n\n"
                    f"Caused by:\n    {error}"
                )
                item.failed(text, time.monotonic() - started)
                return _failure(text, began)
        except McpServerError as error:
            item.failed(str(error))
            return _failure(str(error), began)
        item.answered(result, time.monotonic() - started)
        shown = {name: value for name, value in result.items() if value is not None}
        return Answer(_output(result, began), shown)


def _failure(text: str, began: float) -> Text:
    return _parts([{"type": "text", "text": text}], began)


def _output(result: dict[str, Any], began: float) -> Text:
    """What is structured says all; else the content, part by part."""
    structured = result.get("structuredContent")
    if structured is not None:
        text = tool_output.truncated(msgspec.json.encode(structured).decode(), tool_output.DEFAULT_MAX_TOKENS)
        return f"{tool_output.mcp_header(time.monotonic() - began)}\n{text}"
    return _parts(result.get("content") or [], began)


def _parts(content: list[Any], began: float) -> Text:
    parts = [{"type": "input_text", "text": tool_output.mcp_header(time.monotonic() - began)}]
    budget = tool_output.DEFAULT_MAX_TOKENS
    for block in content:
        part = _part(block)
        if "text" in part:
            part["text"] = tool_output.truncated(part["text"], budget)
            budget = max(0, budget - tool_output.token_count(len(part["text"].encode(errors="replace"))))
        parts.append(part)
    return parts


def _part(block: Any) -> dict[str, str]:
    if isinstance(block, dict):
        match block.get("type"):
            case "text" if isinstance(block.get("text"), str):
                return {"type": "input_text", "text": block["text"]}
            case "image" if isinstance(block.get("data"), str):
                url = f"data:{block.get('mimeType') or 'image/png'};base64,{block['data']}"
                return {"type": "input_image", "image_url": url, "detail": "high"}
    return {"type": "input_text", "text": msgspec.json.encode(block).decode()}
