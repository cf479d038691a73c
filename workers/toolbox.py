"""The tools of one thread: which are offered, and how a call is carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config.resolve import GOAL_TOOLS
from workers.session import Session
from workers.tools import tool_output
from workers.tools.ask import RequestUserInput
from workers.tools.dynamic import call_dynamic, dynamic_definitions, find_dynamic
from workers.tools.edit import ApplyPatch
from workers.tools.goal import CreateGoal, GetGoal, UpdateGoal
from workers.tools.look import ViewImage
from workers.tools.permissions import RequestPermissions
from workers.tools.plan import UpdatePlan
from workers.tools.shell import ExecCommand, WriteStdin
from workers.tools.terminal import Terminals
from workers.tools.tool import Call, Refusal, Tool, ToolRefused, TurnScope
from workers.tools.workspace import Workspace

__all__ = ["Toolbox"]

_WEB_SEARCH = {"type": "web_search", "external_web_access": False, "search_content_types": ["text", "image"]}


class Toolbox:
    def __init__(self) -> None:
        self.terminals = Terminals()
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

    def definitions(self, session: Session) -> Sequence[Mapping[str, Any]]:
        """What the model is offered: the tools that its settings name."""
        offered: list[Mapping[str, Any]] = []
        for name in _names(session):
            if name == ExecCommand.name:
                offered.append(self._exec.definition(further=session.settings.command_permissions))
            elif name in self._tools:
                offered.append(self._tools[name].definition())
            elif name == "web_search" and session.settings.provider.wire_api == "responses":
                offered.append(_WEB_SEARCH)
        return [*offered, *dynamic_definitions(session.dynamic_tools)]

    async def call(self, scope: TurnScope, call: Call) -> str | list[dict[str, Any]]:
        """The answer for the model; a `Refusal` is an answer too.

        Raises:
            TurnCancelled: the user ended the turn in an approval.
        """
        if find_dynamic(scope.session.dynamic_tools, call):
            try:
                return await call_dynamic(scope, call)
            except ToolRefused as refusal:
                return Refusal(refusal)
        tool = self._tools.get(call.name)
        if tool is None or call.name not in _names(scope.session):
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
