"""The tools of one thread: which are offered, and how a call is carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.session import Session
from workers.tools import tool_output
from workers.tools.ask import RequestUserInput
from workers.tools.dynamic import call_dynamic, dynamic_definitions, find_dynamic
from workers.tools.edit import ApplyPatch
from workers.tools.look import ViewImage
from workers.tools.plan import UpdatePlan
from workers.tools.shell import ExecCommand, WriteStdin
from workers.tools.terminal import Terminals
from workers.tools.tool import Call, Tool, ToolRefused, TurnScope
from workers.tools.workspace import Workspace

__all__ = ["Toolbox"]

_WEB_SEARCH = {"type": "web_search", "external_web_access": False, "search_content_types": ["text", "image"]}


class Toolbox:
    def __init__(self) -> None:
        self.terminals = Terminals()
        workspace = Workspace()
        tools: tuple[Tool, ...] = (
            ExecCommand(self.terminals, workspace),
            WriteStdin(self.terminals),
            ApplyPatch(workspace),
            UpdatePlan(),
            ViewImage(),
            RequestUserInput(),
        )
        self._tools = {tool.name: tool for tool in tools}

    def definitions(self, session: Session) -> Sequence[Mapping[str, Any]]:
        """What the model is offered: the tools that its settings name."""
        offered: list[Mapping[str, Any]] = []
        for name in session.settings.tools:
            if name in self._tools:
                offered.append(self._tools[name].definition())
            elif name == "web_search" and session.settings.provider.wire_api == "responses":
                offered.append(_WEB_SEARCH)
        return [*offered, *dynamic_definitions(session.dynamic_tools)]

    async def call(self, scope: TurnScope, call: Call) -> str | list[dict[str, Any]]:
        """The answer for the model; a refusal is an answer too.

        Raises:
            TurnCancelled: the user ended the turn in an approval.
        """
        if find_dynamic(scope.session.dynamic_tools, call):
            try:
                return await call_dynamic(scope, call)
            except ToolRefused as refusal:
                return str(refusal)
        tool = self._tools.get(call.name)
        if tool is None or call.name not in scope.session.settings.tools:
            # Not offered is the same as unknown: a model may remember tools from elsewhere.
            return tool_output.unknown_tool(call.name)
        try:
            return await tool.call(scope, call)
        except ToolRefused as refusal:
            return str(refusal)
