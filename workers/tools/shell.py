"""`exec_command` and `write_stdin`: commands in the sandbox, in the foreground or going on behind the conversation."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.constraints import UnsignedSize
from protocol.items import CommandExecutionItem
from protocol.notifications import TerminalInteraction, Warned
from sandbox_backends import identity
from sandbox_backends.decision import NEVER_ESCALATES, Ask, Forbid, approval_key, decide, escalation
from sandbox_backends.env import ShellEnvironmentPolicy, environment
from sandbox_backends.errors import SandboxError
from sandbox_backends.landlock import Landlock
from sandbox_backends.limits import Limits
from sandbox_backends.plan import Escalation, ExecPlan, Ids
from sandbox_backends.planner import plan
from sandbox_backends.runner import run_with_plan
from sandbox_backends.view import Pin
from workers.permissions import Permissions
from workers.tools import tool_output
from workers.tools.command_actions import actions_of, display
from workers.tools.command_approval import CommandApproval, CommandUse
from workers.tools.edit import ApplyPatch
from workers.tools.exec_arguments import (
    ExecArguments,
    exec_definition,
    function_definition,
    further_permissions,
)
from workers.tools.patch_in_script import ScriptedPatch, patch_in_script
from workers.tools.terminal import MAX_TERMINALS, OUTPUT_CAP, Terminal, Terminals, yield_output
from workers.tools.tool import Call, Output, ToolRefused, TurnScope, arguments_of
from workers.tools.workspace import Workspace

__all__ = ["ExecCommand", "WriteStdin"]

DEFAULT_STDIN_YIELD_MS = 250
"""An answer to what was typed comes soon or not at all."""
TERMINAL_SIZE = (24, 80)


class StdinArguments(msgspec.Struct):
    session_id: int
    chars: str = ""
    yield_time_ms: UnsignedSize | None = None
    max_output_tokens: int | None = None


class ExecCommand:
    name = "exec_command"

    def __init__(self, terminals: Terminals, workspace: Workspace, patches: ApplyPatch) -> None:
        self._terminals = terminals
        self._workspace = workspace
        self._patches = patches
        self._approval = CommandApproval()
        self._warned = False

    def definition(self, *, further: bool = False) -> Mapping[str, Any]:
        """`further`: whether the model may ask for permissions of one command."""
        return exec_definition(self.name, further=further)

    async def call(self, scope: TurnScope, call: Call) -> Output:
        arguments = arguments_of(call, ExecArguments)
        session = scope.session
        settings = session.settings
        shell = arguments.shell or "/bin/bash"
        argv = [shell, "-lc" if arguments.login else "-c", arguments.cmd]
        cwd = os.path.normpath(os.path.join(settings.cwd, arguments.workdir or ""))
        if (written := patch_in_script(arguments.cmd, cwd)) is not None:
            return await self._patch(scope, call, written)
        further = further_permissions(arguments, settings)
        # What was granted already need not be asked for.
        extra = further is not None and not scope.permissions.cover(further)
        escalated = arguments.sandbox_permissions == "require_escalated" or extra
        item = CommandExecutionItem(
            id=call.id,
            command=display(argv),
            cwd=cwd,
            status="inProgress",
            command_actions=actions_of(argv, cwd),
        )
        decision = decide(
            settings.approval_policy,
            settings.sandbox,
            argv,
            escalated=escalated,
            rules=self._approval.rules(scope),
            reason=arguments.justification,
        )
        if isinstance(decision, Forbid):
            unwrapped = extra or decision.reason == NEVER_ESCALATES
            raise ToolRefused(decision.reason if unwrapped else tool_output.exec_rejected(decision.reason))
        if extra and isinstance(decision, Ask):
            decision = msgspec.structs.replace(decision, sandboxed=True)
        if self._terminals.full:
            raise ToolRefused(f"too many commands are still running ({MAX_TERMINALS}); end some first")
        key = approval_key(argv, cwd, [arguments.sandbox_permissions, further])
        approved = asked = False
        if isinstance(decision, Ask):
            approved = True
            if key not in scope.approvals.granted:
                script = CommandUse(arguments.cmd, arguments.justification)
                asked = await self._approval.ask(
                    scope, item, decision, key, script, further=further if extra else None
                )
        # What was approved with more permissions was not approved without a sandbox.
        path = escalation(settings.approval_policy, approved=approved and not extra, key=key)
        run = _Run(scope, item, argv, cwd, arguments, path, further)
        if not decision.sandboxed:
            return await self._run(run, sandboxed=False, started=asked)
        answer = await self._run(run, sandboxed=True, started=asked)
        if run.held is None:
            return answer
        return await self._escalate(run, answer)

    async def _patch(self, scope: TurnScope, call: Call, written: ScriptedPatch) -> str:
        """The command is a patch and nothing else: there is no such program, and it is judged as a patch is."""
        began = time.monotonic()
        output = await self._patches.apply(scope, call.id, written.text, written.cwd)
        return f"{tool_output.mcp_header(time.monotonic() - began)}\n{output}"

    async def _escalate(self, run: _Run, answer: Output) -> Output:
        """The sandbox stopped it, and its item is still open: once more without, if that is wanted."""
        scope, item, held = run.scope, run.item, run.held
        assert held is not None
        try:
            wanted = run.escalation.on_denial == "retry" or (
                await self._approval.ask_again(
                    scope, item, run.escalation, CommandUse(run.arguments.cmd, run.escalation.reason)
                )
            )
        except asyncio.CancelledError:
            held.release(tell=False)
            raise
        if not wanted:
            held.release(tell=True)
            return answer
        held.release(tell=False)
        return await self._run(run, sandboxed=False, started=True, attempt=2)

    def _plan(self, run: _Run, *, sandboxed: bool, attempt: int) -> ExecPlan:
        session, arguments = run.scope.session, run.arguments
        settings = session.settings
        policy = ShellEnvironmentPolicy(**msgspec.structs.asdict(settings.shell_environment))
        env = environment(policy, os.environ, thread_id=session.id, call_id=run.item.id)
        confinement = run.scope.confinement(run.further)
        pins: tuple[Pin, ...] = ()
        if sandboxed:
            pins = self._workspace.pins(run.scope.turn_id, confinement.policy, confinement.workspace, env)
        return plan(
            run.argv,
            cwd=run.cwd,
            workspace=confinement.workspace,
            policy=confinement.policy,
            env=env,
            pins=pins,
            own=session.own,
            sandboxed=sandboxed,
            timeout_ms=arguments.timeout_ms,
            output_cap=OUTPUT_CAP,
            # Not a pipe: rg and others read a pipe instead of the files, and would wait for ever.
            stdin="pty" if arguments.tty else "null",
            pty_size=TERMINAL_SIZE if arguments.tty else None,
            limits=Limits(**msgspec.structs.asdict(settings.command_limits)),
            escalation=run.escalation if sandboxed else Escalation(),
            ids=Ids(thread=session.id, turn=run.scope.turn_id, item=run.item.id, attempt=attempt),
        )

    async def _run(self, run: _Run, *, sandboxed: bool, started: bool, attempt: int = 1) -> Output:
        scope, item = run.scope, run.item
        session = scope.session
        number = self._terminals.number()
        terminal = Terminal(scope, item, number)
        terminal.script = run.arguments.cmd
        try:
            prepared = self._plan(run, sandboxed=sandboxed, attempt=attempt)
            self._warn(scope, prepared)
            item.process_id = str(number)
            item.source = "unifiedExecStartup"
            if not started:
                session.item_started(scope.turn_id, item)
            terminal.command = await run_with_plan(
                prepared, terminal.output, lambda pid: identity.record(session.processes, pid)
            )
        except SandboxError as error:
            if item.started_at_ms is None:
                item.source = "unifiedExecStartup"
                session.item_started(scope.turn_id, item)
            item.status, item.exit_code, item.aggregated_output = "failed", -1, str(error)
            session.item_completed(scope.turn_id, item)
            raise ToolRefused(f"exec_command failed: {error}") from None
        terminal.holds = prepared.escalation.on_denial != "report"
        self._terminals.watch(terminal)
        answer = await yield_output(terminal, run.arguments.yield_time_ms, run.arguments.max_output_tokens)
        terminal.answered = True
        run.held = terminal if terminal.held is not None else None
        return answer

    def _warn(self, scope: TurnScope, prepared: ExecPlan) -> None:
        """The weaker sandbox is never used silently."""
        if prepared.backend != Landlock.name or self._warned:
            return
        self._warned = True
        text = (
            f"Commands run in a weaker sandbox, {prepared.backend}: {prepared.backend_reason}. "
            f"Not enforced: {', '.join(prepared.gaps)}. `bulkhead doctor` tells more."
        )
        scope.session.notify("warning", Warned(thread_id=scope.session.id, message=text))


class _Run(msgspec.Struct):
    """One call of exec_command, through both of its attempts."""

    scope: TurnScope
    item: CommandExecutionItem
    argv: list[str]
    cwd: str
    arguments: ExecArguments
    escalation: Escalation
    further: Permissions | None = None
    """What is granted for this command alone."""
    held: Terminal | None = None
    """The first attempt, if the sandbox stopped it and something is to be done about that."""


class WriteStdin:
    name = "write_stdin"

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals

    def definition(self) -> Mapping[str, Any]:
        return function_definition(
            self.name,
            "Writes to a command that is still running and returns what it printed since.",
            {
                "session_id": ("number", "The session id that exec_command returned."),
                "chars": ("string", "What to write; may be empty to only wait for output."),
                "yield_time_ms": ("number", "How long to wait for output."),
                "max_output_tokens": ("number", "Output beyond this is cut in the middle."),
            },
            required=["session_id"],
        )

    async def call(self, scope: TurnScope, call: Call) -> Output:
        arguments = arguments_of(call, StdinArguments)
        terminal = self._terminals.get(arguments.session_id)
        if terminal is None or terminal.command is None:
            raise ToolRefused(tool_output.unknown_process(arguments.session_id))
        if arguments.chars:
            try:
                terminal.command.write(arguments.chars.encode())
            except SandboxError as error:
                raise ToolRefused(
                    f"write_stdin failed: {error}; start it with tty=true to write to it"
                ) from None
        terminal.interaction = TerminalInteraction(
            thread_id=scope.session.id,
            turn_id=scope.turn_id,
            item_id=terminal.item.id,
            process_id=str(terminal.number),
            stdin=arguments.chars,
        )
        try:
            return await yield_output(
                terminal, arguments.yield_time_ms or DEFAULT_STDIN_YIELD_MS, arguments.max_output_tokens
            )
        finally:
            terminal.tell_interaction()
