"""Hooks around a tool call: what the tool is called there, what its input is, and how a changed input becomes a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from workers.tools.tool import Answer, Call, Output, Refusal, ToolRefused, TurnScope

__all__ = ["BASH", "PATCH", "with_hooks"]

BASH = ("Bash",)
PATCH = ("apply_patch", "Edit", "Write")
"""What matchers may call it by, too."""
SHELL_TOOL, PATCH_TOOL, STDIN_TOOL = "exec_command", "apply_patch", "write_stdin"
MCP = "mcp__"
COMMAND = "command"
"""The one field of the input of these two, whatever the model's own is called."""
NO_COMMAND = "hook returned updatedInput without string field `command`"


async def with_hooks(
    scope: TurnScope, call: Call, name: str | None, carry_out: Callable[[Call], Awaitable[Output]]
) -> Output:
    """Carry out a call between its hooks. `name`: as hooks know the tool; None if there is no such tool."""
    if name is None:
        return await carry_out(call)
    if name == STDIN_TOOL:
        # No use of a tool by itself: a command that ends in it was begun by another call.
        return await _answered(scope, await carry_out(call))
    names, said = _use(name, call)
    if said is None:
        return await carry_out(call)
    outcome = await scope.hooks.before_tool(names, said, call.id)
    if outcome.block is not None:
        return Refusal(_blocked(names, said, outcome.block))
    if outcome.updated_input is not None:
        try:
            call, said = _changed(name, call, outcome.updated_input), outcome.updated_input
        except ToolRefused as refusal:
            return Refusal(refusal)
    output = await carry_out(call)
    if isinstance(output, Refusal):
        return output
    if isinstance(output, Answer) or name == SHELL_TOOL or name.startswith(MCP):
        return await _answered(scope, output, names, said, call.id)
    seen = Answer(output, _response(name, output), call.id)
    return await _told(scope, seen, names, said)


async def _answered(
    scope: TurnScope, output: Output, names: tuple[str, ...] = BASH, said: Any = None, call_id: str = ""
) -> Output:
    """A command or an MCP tool: only what it has in full is its response. A command may have been begun long before."""
    if not isinstance(output, Answer):
        return output
    if output.command is not None:
        said = {COMMAND: output.command}
    return await _told(scope, msgspec.structs.replace(output, call_id=output.call_id or call_id), names, said)


async def _told(scope: TurnScope, seen: Answer, names: tuple[str, ...], said: Any) -> Output:
    feedback = await scope.hooks.after_tool(names, said, seen.response, seen.call_id)
    return seen.text if feedback is None else feedback


def _use(name: str, call: Call) -> tuple[tuple[str, ...], Any]:
    """The names and the input; no input if the arguments are not understood, which the tool will say itself."""
    if name == PATCH_TOOL and call.custom:
        return PATCH, {COMMAND: call.arguments}
    try:
        arguments = msgspec.json.decode(call.arguments) if call.arguments.strip() else {}
    except (msgspec.MsgspecError, RecursionError):
        return (name,), None
    if name in (SHELL_TOOL, PATCH_TOOL):
        text = (
            arguments.get("cmd" if name == SHELL_TOOL else "input") if isinstance(arguments, dict) else None
        )
        names = BASH if name == SHELL_TOOL else PATCH
        return names, {COMMAND: text} if isinstance(text, str) else None
    return (name,), arguments


def _changed(name: str, call: Call, updated: Any) -> Call:
    if name not in (SHELL_TOOL, PATCH_TOOL):
        return msgspec.structs.replace(call, arguments=msgspec.json.encode(updated).decode())
    text = updated.get(COMMAND) if isinstance(updated, dict) else None
    if not isinstance(text, str):
        raise ToolRefused(NO_COMMAND)
    if call.custom:
        return msgspec.structs.replace(call, arguments=text)
    arguments = msgspec.json.decode(call.arguments)
    arguments["cmd" if name == SHELL_TOOL else "input"] = text
    return msgspec.structs.replace(call, arguments=msgspec.json.encode(arguments).decode())


def _blocked(names: tuple[str, ...], said: Any, reason: str) -> str:
    if names in (BASH, PATCH):
        return f"Command blocked by PreToolUse hook: {reason}. Command: {said[COMMAND]}"
    return f"Tool call blocked by PreToolUse hook: {reason}. Tool: {names[0]}"


def _response(name: str, output: Output) -> Any:
    """A tool's own JSON as it is; a patch's and all other text as text."""
    if not isinstance(output, str) or name == PATCH_TOOL or not output.startswith(("{", "[")):
        return output
    try:
        return msgspec.json.decode(output)
    except (msgspec.MsgspecError, RecursionError):
        return output
