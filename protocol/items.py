"""Thread items: what a turn is made of, as in `item/started`, `item/completed` and `thread/read`.

Field order is the peer's, so that a recording can be compared by eye.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.base import Wire
from protocol.command_actions import CommandAction
from protocol.file_changes import FileUpdateChange
from protocol.tool_content import ToolContent
from protocol.user_input import UserInput

__all__ = [
    "AgentMessageItem",
    "CommandExecutionItem",
    "ContextCompactionItem",
    "DynamicToolCallItem",
    "EnteredReviewModeItem",
    "ExitedReviewModeItem",
    "FileChangeItem",
    "FunctionCallOutputItem",
    "HookPromptFragment",
    "HookPromptItem",
    "ImageGenerationItem",
    "ImageViewItem",
    "McpToolCallError",
    "McpToolCallItem",
    "McpToolCallResult",
    "PlanItem",
    "ReasoningItem",
    "SleepItem",
    "ThreadItem",
    "UserMessageItem",
    "WebSearchItem",
]


class _Item(Wire, kw_only=True, tag_field="type"):
    id: str


class UserMessageItem(_Item, kw_only=True, tag="userMessage"):
    client_id: str | None = None
    content: list[UserInput]
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class AgentMessageItem(Wire, kw_only=True, tag_field="type", tag="agentMessage"):
    moderation: Any = None
    id: str
    text: str
    phase: Literal["commentary", "partial_answer", "final_answer"] | None = None
    memory_citation: Any = None
    delivery: Any = None
    questions: Any = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class ReasoningItem(_Item, kw_only=True, tag="reasoning"):
    summary: list[str] = []
    content: list[str] = []
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


CommandStatus = Literal["inProgress", "completed", "failed", "declined"]
CommandSource = Literal["agent", "userShell", "unifiedExecStartup", "unifiedExecInteraction"]


class CommandExecutionItem(_Item, kw_only=True, tag="commandExecution"):
    plugin_id: str | None = None
    script_path: str | None = None
    command: str
    cwd: str
    process_id: str | None = None
    source: CommandSource = "agent"
    status: CommandStatus
    command_actions: list[CommandAction]
    aggregated_output: str | None = None
    exit_code: int | None = None
    duration_ms: int | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class FileChangeItem(_Item, kw_only=True, tag="fileChange"):
    changes: list[FileUpdateChange]
    status: CommandStatus
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class PlanItem(_Item, kw_only=True, tag="plan"):
    text: str
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class ImageViewItem(_Item, kw_only=True, tag="imageView"):
    path: str
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class WebSearchItem(_Item, kw_only=True, tag="webSearch"):
    query: str
    action: Any = None
    results: Any = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class ContextCompactionItem(_Item, kw_only=True, tag="contextCompaction"):
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class EnteredReviewModeItem(_Item, kw_only=True, tag="enteredReviewMode"):
    """`review`: what is reviewed, in a few words."""

    review: str
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class ExitedReviewModeItem(_Item, kw_only=True, tag="exitedReviewMode"):
    """`review`: the findings as text."""

    review: str
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class SleepItem(_Item, kw_only=True, tag="sleep"):
    duration_ms: int
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class HookPromptFragment(Wire, kw_only=True):
    text: str
    hook_run_id: str


class HookPromptItem(_Item, kw_only=True, tag="hookPrompt"):
    fragments: list[HookPromptFragment]
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class FunctionCallOutputItem(_Item, kw_only=True, tag="functionCallOutput"):
    """What was told to the model in a tool's name without a call. `output`: text, or parts in Responses form."""

    name: str
    namespace: str | None = None
    output: Any
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class DynamicToolCallItem(_Item, kw_only=True, tag="dynamicToolCall"):
    """A call of a tool that the client runs. `arguments`: JSON."""

    namespace: str | None = None
    tool: str
    arguments: Any
    status: Literal["inProgress", "completed", "failed"]
    content_items: list[ToolContent] | None = None
    success: bool | None = None
    duration_ms: int | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class McpToolCallResult(Wire, kw_only=True):
    """What the server answered, as it said it."""

    content: list[Any]
    structured_content: Any = None
    meta: Any = msgspec.field(default=None, name="_meta")


class McpToolCallError(Wire, kw_only=True):
    message: str


class McpToolCallItem(_Item, kw_only=True, tag="mcpToolCall"):
    """A call of a tool of an MCP server, by the server's and the tool's own names. `arguments`: JSON.

    `result` and `error` are never both set; a result in which the server says that it failed makes the status
    `failed` too.
    """

    server: str
    tool: str
    status: Literal["inProgress", "completed", "failed"]
    arguments: Any = None
    app_context: Any = None
    mcp_app_ui: Any = None
    plugin_id: str | None = None
    read_only_hint: bool | None = None
    result: McpToolCallResult | None = None
    error: McpToolCallError | None = None
    duration_ms: int | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


class ImageGenerationItem(_Item, kw_only=True, tag="imageGeneration"):
    """`result`: base64. `saved_path`: where it was stored, absolute."""

    status: str
    revised_prompt: str | None = None
    result: str = ""
    saved_path: str | None = None
    failure: Any = None
    generation_id: str | None = None
    input_images: list[Any] = []
    transparent_background: bool | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None


ThreadItem = (
    UserMessageItem
    | HookPromptItem
    | FunctionCallOutputItem
    | DynamicToolCallItem
    | McpToolCallItem
    | SleepItem
    | ImageGenerationItem
    | EnteredReviewModeItem
    | ExitedReviewModeItem
    | AgentMessageItem
    | ReasoningItem
    | CommandExecutionItem
    | FileChangeItem
    | PlanItem
    | ImageViewItem
    | WebSearchItem
    | ContextCompactionItem
)
