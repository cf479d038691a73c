"""Commands that the user runs himself in a thread: without a sandbox, without an approval, and told to the model."""

from __future__ import annotations

import asyncio
import os

import msgspec

from protocol.items import CommandExecutionItem
from rollouts.ids import new_id
from rollouts.shellwords import join_words
from sandbox_backends.env import ShellEnvironmentPolicy, environment
from sandbox_backends.errors import SandboxError
from sandbox_backends.plan import Ids
from sandbox_backends.planner import plan
from sandbox_backends.result import ExecResult
from sandbox_backends.runner import run_with_plan
from workers.instructions import message
from workers.tools.command_actions import actions_of
from workers.tools.terminal import OUTPUT_CAP, Terminal
from workers.tools.tool import TurnScope
from workers.tools.tool_output import truncated

__all__ = ["UserShell"]

DEFAULT_TIMEOUT_MS = 60 * 60 * 1000
"""A command that nobody ends must not keep its turn open for ever."""

SHELL = "/bin/bash"
MODEL_TOKENS = 10_000
"""What the model is told of the output."""

RESULT = (
    "<user_shell_command>\n<command>\n{command}\n</command>\n<result>\nExit code: {code}\n"
    "Duration: {seconds:.4f} seconds\nOutput:\n{output}\n</result>\n</user_shell_command>"
)


class UserShell:
    """The user's commands in one turn. They run beside the turn's own work and end with it."""

    def __init__(self, scope: TurnScope) -> None:
        self._scope = scope
        self._running: dict[asyncio.Task[None], Terminal] = {}
        self._results: list[str] = []
        self._stopping = False

    def start(self, command: str, timeout_ms: int | None) -> None:
        """The item is completed when the command ends."""
        session = self._scope.session
        argv = [SHELL, "-lc", command]
        cwd = session.settings.cwd
        item = CommandExecutionItem(
            id=new_id(),
            command=join_words(argv),
            cwd=cwd,
            source="userShell",
            status="inProgress",
            command_actions=actions_of(argv, cwd),
        )
        terminal = Terminal(self._scope, item, 0, patient=False)
        session.item_started(self._scope.turn_id, item)
        task = asyncio.ensure_future(self._run(terminal, argv, command, timeout_ms or DEFAULT_TIMEOUT_MS))
        self._running[task] = terminal
        task.add_done_callback(self._running.pop)

    async def _run(self, terminal: Terminal, argv: list[str], command: str, timeout_ms: int) -> None:
        session = self._scope.session
        policy = ShellEnvironmentPolicy(**msgspec.structs.asdict(session.settings.shell_environment))
        try:
            prepared = plan(
                argv,
                cwd=session.settings.cwd,
                policy=session.settings.sandbox,
                env=environment(policy, os.environ, thread_id=session.id),
                sandboxed=False,
                timeout_ms=timeout_ms,
                output_cap=OUTPUT_CAP,
                ids=Ids(thread=session.id, turn=self._scope.turn_id, item=terminal.item.id),
            )
            terminal.command = await run_with_plan(prepared, terminal.output)
            if self._stopping:
                await terminal.command.end()
        except SandboxError as error:
            item = terminal.item
            item.status, item.exit_code, item.aggregated_output = "failed", -1, str(error)
            session.item_completed(self._scope.turn_id, item)
            self._note(command, -1, 0, str(error))
            return
        result: ExecResult = await terminal.command.wait()
        terminal.complete(result, tell=True)
        self._note(command, result.exit_code, result.duration_ms, result.output.text())

    def _note(self, command: str, code: int, duration_ms: int, output: str) -> None:
        text = truncated(output, MODEL_TOKENS)
        self._results.append(
            RESULT.format(command=command, code=code, seconds=duration_ms / 1000, output=text)
        )

    def remember_results(self) -> bool:
        """Put what has ended into the history; whether there was anything."""
        results, self._results = self._results, []
        for result in results:
            self._scope.session.remember(message("user", result))
        return bool(results)

    async def finish(self) -> None:
        """Wait for the commands that still run."""
        while self._running:
            await asyncio.wait(self._running)
        self.remember_results()

    async def stop(self) -> None:
        """End them, those too that are about to start: the turn is over."""
        self._stopping = True
        for terminal in list(self._running.values()):
            if terminal.command is not None:
                await terminal.command.end()
        await self.finish()
