"""Whether a call of an MCP server's tool needs the user's word, and what he says."""

from __future__ import annotations

from typing import Any, Literal

from config.edits import Edit
from config.errors import ConfigError
from config.mcp_servers import McpServer
from protocol.mcp import McpServerElicitationRequestParams
from protocol.policy import DangerFullAccess, ExternalSandbox
from workers.mcp.elicitation import ask_client
from workers.mcp.names import OfferedTool
from workers.tools.tool import TurnScope

__all__ = ["NEVER", "McpApproval"]

Decision = Literal["accept", "decline", "cancel"]

NEVER = "MCP tool call requires approval, but approval policy is never"
SESSION, ALWAYS = "session", "always"


class McpApproval:
    """The approvals of one thread. What was granted for the session is kept with its other grants."""

    def needed(self, scope: TurnScope, server: McpServer, tool: OfferedTool) -> bool:
        mode = server.approval_mode(tool.tool)
        settings = scope.session.settings
        trusted = isinstance(settings.sandbox, DangerFullAccess | ExternalSandbox)
        if mode == "approve" or (settings.approval_policy == "never" and trusted):
            return False
        if _key(tool) in scope.approvals.granted and mode == "auto":
            return False
        hints = tool.annotations
        if mode == "prompt":
            return True
        if hints.get("readOnlyHint") is True:
            return False
        # What a tool does not say of itself is taken for the worse.
        harmless = hints.get("destructiveHint") is False and hints.get("openWorldHint") is False
        return mode == "writes" or not harmless

    async def ask(self, scope: TurnScope, server: McpServer, tool: OfferedTool, arguments: Any) -> Decision:
        """The user's answer. If he says that it stands for longer, that is remembered."""
        lasting = server.approval_mode(tool.tool) == "auto"
        question = McpServerElicitationRequestParams(
            thread_id=scope.session.id,
            turn_id=scope.turn_id,
            server_name=tool.server,
            mode="form",
            meta=_facts(tool, arguments, lasting=lasting),
            message=f'Allow the {tool.server} MCP server to run tool "{tool.tool}"?',
            requested_schema={"type": "object", "properties": {}},
        )
        answer = await ask_client(scope.approvals, question)
        if answer.action == "accept" and lasting and isinstance(answer.meta, dict):
            persist = answer.meta.get("persist")
            if persist in (SESSION, ALWAYS):
                scope.approvals.granted.add(_key(tool))
            if persist == ALWAYS:
                _write(scope.session.home, server, tool.tool)
        return answer.action


def _key(tool: OfferedTool) -> str:
    return f"mcp\0{tool.server}\0{tool.tool}"


def _facts(tool: OfferedTool, arguments: Any, *, lasting: bool) -> dict[str, Any]:
    """What is to be called, for the client to show."""
    facts: dict[str, Any] = {"codex_approval_kind": "mcp_tool_call"}
    if lasting:
        facts["persist"] = [SESSION, ALWAYS]
    facts["tool_name"] = tool.tool
    known = {
        "tool_annotations": tool.annotations or None,
        "tool_title": tool.declared.get("title"),
        "tool_description": tool.declared.get("description"),
        "tool_params": arguments,
    }
    facts |= {name: value for name, value in known.items() if value is not None}
    if isinstance(arguments, dict):
        facts["tool_params_display"] = [
            {"name": name, "value": arguments[name], "display_name": name} for name in sorted(arguments)
        ]
    return facts


def _write(home: str, server: McpServer, tool: str) -> None:
    """Note in the file that names the server that this tool needs no approval; the session's grant stands anyway."""
    # Nothing but a write needs these, and every worker would pay for them.
    from config.store import set_values  # noqa: PLC0415

    if server.file is None:
        print(f"the approval of {server.name}/{tool} is not kept: no file names the server", flush=True)
        return
    edit = Edit(("mcp_servers", server.name, "tools", tool, "approval_mode"), "approve")
    try:
        set_values(home, server.file, [edit])
    except (ConfigError, OSError) as error:
        print(f"the approval of {server.name}/{tool} is not kept: {error}", flush=True)
