"""The tools of one thread: which are offered, and how a call is carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config.resolve import GOAL_TOOLS
from workers.hooks.of_tools import with_hooks
from workers.mcp.servers import McpServers
from workers.session import Session
from workers.tools import tool_output, tool_search
from workers.tools.ask import RequestUserInput
from workers.tools.dynamic import call_dynamic, dynamic_definitions, find_dynamic
from workers.tools.edit import ApplyPatch
from workers.tools.goal import CreateGoal, GetGoal, UpdateGoal
from workers.tools.look import ViewImage
from workers.tools.mcp_call import McpCalls
from workers.tools.mcp_resources import ListMcpResources, ListMcpTemplates, ReadMcpResource
from workers.tools.permissions import RequestPermissions
from workers.tools.plan import UpdatePlan
from workers.tools.shell import ExecCommand, WriteStdin
from workers.tools.terminal import Terminals
from workers.tools.tool import Answer, Call, Output, Refusal, Tool, ToolRefused, TurnScope
from workers.tools.workspace import Workspace

__all__ = ["Toolbox"]

_WEB_SEARCH = {"type": "web_search", "external_web_access": False, "search_content_types": ["text", "image"]}


TOOL_SEARCH = "tool_search"


class Toolbox:
    def __init__(self, servers: McpServers) -> None:
        self.terminals = Terminals()
        self.servers = servers
        self._mcp = McpCalls(servers)
        workspace = Workspace()
        patches = ApplyPatch(workspace)
        self._exec = ExecCommand(self.terminals, workspace, patches)
        tools: tuple[Tool, ...] = (
            self._exec,
            WriteStdin(self.terminals),
            patches,
            UpdatePlan(),
            ViewImage(),
            RequestUserInput(),
            GetGoal(),
            CreateGoal(),
            UpdateGoal(),
            RequestPermissions(),
        )
        self._tools = {tool.name: tool for tool in tools}
        resources: tuple[Tool, ...] = (
            ListMcpResources(servers),
            ListMcpTemplates(servers),
            ReadMcpResource(servers),
        )
        self._resources = {tool.name: tool for tool in resources}

    def definitions(self, session: Session) -> Sequence[Mapping[str, Any]]:
        """What the model is offered: the tools that its settings name, those of MCP servers, and the client's."""
        offered: list[Mapping[str, Any]] = []
        for name in _names(session):
            if name == ExecCommand.name:
                offered.append(self._exec.definition(further=session.settings.command_permissions))
            elif name in self._tools:
                offered.append(self._tools[name].definition())
            elif name == "web_search" and session.settings.provider.wire_api == "responses":
                offered.append(_WEB_SEARCH)
        if self.servers:
            offered += (tool.definition() for tool in self._resources.values())
            offered += self._mcp_definitions(session)
        return [*offered, *dynamic_definitions(session.dynamic_tools)]

    def _mcp_definitions(self, session: Session) -> Sequence[Mapping[str, Any]]:
        tools = self.servers.offered()
        if not tools:
            return ()
        if self._searches(session):
            return (tool_search.definition(),)
        return tool_search.namespaces(tools, self.servers.descriptions())

    @staticmethod
    def _searches(session: Session) -> bool:
        """Whether the model looks for tools itself; the others get all of them with every request."""
        settings = session.settings
        return TOOL_SEARCH in settings.tools and settings.provider.wire_api == "responses"

    def search(self, arguments: Any) -> list[dict[str, Any]]:
        """What a search of the model finds."""
        found = tool_search.search(self.servers.offered(), arguments)
        return tool_search.namespaces(found, self.servers.descriptions(), deferred=True)

    async def call(self, scope: TurnScope, call: Call) -> str | list[dict[str, Any]]:
        """The answer for the model; a `Refusal` is an answer too.

        Raises:
            TurnCancelled: the user ended the turn in an approval.
        """
        if scope.hooks.any:
            name = self._hooked_name(scope.session, call)
            output = await with_hooks(scope, call, name, lambda call: self._carry_out(scope, call))
        else:
            output = await self._carry_out(scope, call)
        return output.text if isinstance(output, Answer) else output

    def _hooked_name(self, session: Session, call: Call) -> str | None:
        """What hooks know the tool by; None for one that is not offered."""
        if find_dynamic(session.dynamic_tools, call):
            return call.name
        if (offered := self.servers.find(call.namespace, call.name)) is not None:
            return f"mcp__{offered.server}__{offered.tool}"
        known = call.name in _names(session) or (bool(self.servers) and call.name in self._resources)
        return call.name if known else None

    async def _carry_out(self, scope: TurnScope, call: Call) -> Output:
        if find_dynamic(scope.session.dynamic_tools, call):
            try:
                return await call_dynamic(scope, call)
            except ToolRefused as refusal:
                return Refusal(refusal)
        offered = self.servers.find(call.namespace, call.name)
        if offered is not None:
            return await self._mcp.call(scope, call, offered)
        tool = self._resources.get(call.name) if self.servers else None
        if tool is None and call.name in _names(scope.session):
            tool = self._tools.get(call.name)
        if tool is None:
            # Not offered is the same as unknown: a model may remember tools from elsewhere.
            return Refusal(tool_output.unknown_tool(call.name))
        try:
            return await tool.call(scope, call)
        except ToolRefused as refusal:
            return Refusal(refusal)


def _names(session: Session) -> tuple[str, ...]:
    """Of the tools that the thread's model gets. A goal needs a thread that lasts."""
    offered = session.settings.tools
    return tuple(name for name in offered if name not in GOAL_TOOLS) if session.ephemeral else offered
