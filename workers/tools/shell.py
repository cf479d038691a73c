"""`exec_command` and `write_stdin`: commands in the sandbox, in the foreground or going on behind the conversation."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from protocol.items import CommandExecutionItem
from protocol.notifications import (
    AcceptWithAmendment,
    Amendment,
    CommandApprovalParams,
    CommandApprovalResponse,
    CommandDecision,
    ItemDelta,
    TerminalInteraction,
)
from sandbox_backends.command import RunningCommand
from sandbox_backends.decision import Ask, Forbid, Rule, approval_key, decide
from sandbox_backends.env import ShellEnvironmentPolicy, environment
from sandbox_backends.errors import SandboxError
from sandbox_backends.output import Captured, HeadTail, TextStream
from sandbox_backends.plan import Ids
from sandbox_backends.planner import plan
from sandbox_backends.result import ExecResult
from sandbox_backends.runner import run_with_plan
from workers.approvals import Unanswerable
from workers.tools import tool_output
from workers.tools.command_actions import actions_of, display
from workers.tools.tool import Call, ToolRefused, TurnCancelled, TurnScope, arguments_of

__all__ = ["ExecCommand", "Terminals", "WriteStdin"]

DEFAULT_YIELD_MS = 10_000
DEFAULT_STDIN_YIELD_MS = 250
"""An answer to what was typed comes soon or not at all."""
MIN_YIELD_MS, MAX_YIELD_MS = 250, 30_000
DEFAULT_OUTPUT_TOKENS = 10_000
DELTA_PAUSE_S = 0.05
"""Output is gathered for so long: joining pieces is worth more than any codec, and 50 ms is no delay to a reader."""
DELTA_BYTES = 64 * 1024
MAX_DELTAS = 10_000
"""A flood is cut off here; the item's aggregated output keeps both ends."""
OUTPUT_CAP = 1024 * 1024
TERMINAL_SIZE = (24, 80)
SESSION_NUMBERS = range(1000, 100_000)
MAX_TERMINALS = 64
"""Live sessions a thread may hold; more are refused with a word to the model."""


class ExecArguments(msgspec.Struct):
    cmd: str
    workdir: str | None = None
    shell: str | None = None
    login: bool = True
    tty: bool = False
    yield_time_ms: int | None = None
    max_output_tokens: int | None = None
    sandbox_permissions: Literal["use_default", "require_escalated"] = "use_default"
    justification: str | None = None
    prefix_rule: list[str] | None = None


class StdinArguments(msgspec.Struct):
    session_id: int
    chars: str = ""
    yield_time_ms: int | None = None
    max_output_tokens: int | None = None


class Terminal:
    """One command under way, its item and its output."""

    def __init__(self, scope: TurnScope, item: CommandExecutionItem, number: int) -> None:
        self.scope = scope
        self.item = item
        self.number = number
        self.command: RunningCommand | None = None
        self.started = time.monotonic()
        self.unread = HeadTail(OUTPUT_CAP)
        """What the model has not seen yet."""
        self.interaction: TerminalInteraction | None = None
        """What was written and not told yet: it is told with what came of it, but before the item's end."""
        self._text = TextStream()
        self._fresh = bytearray()
        self._deltas = 0
        self._timer: asyncio.TimerHandle | None = None
        self.finished: asyncio.Task[ExecResult] | None = None

    def output(self, chunk: bytes) -> None:
        self.unread.push(chunk)
        if len(self._fresh) < DELTA_BYTES:
            self._fresh += chunk[: DELTA_BYTES - len(self._fresh)]
        if self._timer is None and self._deltas < MAX_DELTAS:
            self._timer = asyncio.get_running_loop().call_later(DELTA_PAUSE_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if not self._fresh:
            return
        if self.scope.session.link.congested:
            # The clients are behind: what does not fit is in the item's output, not in anybody's queue.
            self._timer = asyncio.get_running_loop().call_later(DELTA_PAUSE_S, self._tell)
            return
        text = self._text.feed(bytes(self._fresh))
        self._fresh.clear()
        self._deltas += 1
        self.scope.session.notify(
            "item/commandExecution/outputDelta",
            ItemDelta(
                thread_id=self.scope.session.id, turn_id=self.scope.turn_id, item_id=self.item.id, delta=text
            ),
        )

    def take_unread(self) -> Captured:
        captured = self.unread.captured()
        self.unread = HeadTail(OUTPUT_CAP)
        return captured

    def tell_interaction(self) -> None:
        interaction, self.interaction = self.interaction, None
        if interaction is not None:
            self.scope.session.notify("item/commandExecution/terminalInteraction", interaction)

    def complete(self, result: ExecResult, *, tell: bool) -> None:
        """The command has ended: the rest of its output, and its item."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deltas and self._fresh:
            # A command that was over before its first delta has all its output in the item.
            self._tell()
        self.tell_interaction()
        if not tell:
            return
        item = self.item
        item.status = "completed" if result.exit_code == 0 else "failed"
        item.exit_code = result.exit_code
        item.aggregated_output = result.output.text()
        item.duration_ms = result.duration_ms
        self.scope.session.item_completed(self.scope.turn_id, item)


class Terminals:
    """The commands of one thread that are under way."""

    def __init__(self) -> None:
        self._live: dict[int, Terminal] = {}
        self.rules: list[Rule] = []
        """Prefix rules that the user accepted in this thread."""
        self._silenced = False

    def number(self) -> int:
        while True:
            number = random.choice(SESSION_NUMBERS)
            if number not in self._live:
                return number

    def get(self, number: int) -> Terminal | None:
        return self._live.get(number)

    @property
    def full(self) -> bool:
        return len(self._live) >= MAX_TERMINALS

    def watch(self, terminal: Terminal) -> None:
        self._live[terminal.number] = terminal
        terminal.finished = asyncio.ensure_future(self._finish(terminal))

    async def _finish(self, terminal: Terminal) -> ExecResult:
        assert terminal.command is not None
        result = await terminal.command.wait()
        self._live.pop(terminal.number, None)
        # After an interrupt the item stays open, as with the peer.
        terminal.complete(result, tell=not result.ended)
        return result

    async def end_turn(self, turn_id: str) -> None:
        """After an interrupt: nothing that the turn started goes on."""
        doomed = [t for t in self._live.values() if t.scope.turn_id == turn_id]
        await self._end(doomed)

    async def end_all(self) -> None:
        await self._end(list(self._live.values()))

    async def _end(self, doomed: list[Terminal]) -> None:
        await asyncio.gather(*(t.command.end() for t in doomed if t.command is not None))
        await asyncio.gather(*(t.finished for t in doomed if t.finished is not None), return_exceptions=True)


class ExecCommand:
    name = "exec_command"

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals

    def definition(self) -> Mapping[str, Any]:
        return _function(
            self.name,
            "Runs a command in a shell and returns its output, or a session id if it is still running.",
            {
                "cmd": ("string", "The shell command."),
                "workdir": ("string", "Where to run it; default: the thread's working directory."),
                "shell": ("string", "The shell to use; default: /bin/bash."),
                "login": ("boolean", "Whether it is a login shell (default true)."),
                "tty": ("boolean", "Whether it gets a terminal, for programs that need one."),
                "yield_time_ms": (
                    "number",
                    "How long to wait for output before it goes on in the background.",
                ),
                "max_output_tokens": ("number", "Output beyond this is cut in the middle."),
                "sandbox_permissions": (
                    "string",
                    'Set to "require_escalated" to ask for running outside of the sandbox.',
                ),
                "justification": ("string", "With require_escalated: one sentence for the user, why."),
                "prefix_rule": (
                    "array",
                    "With require_escalated: a command prefix the user may allow for good.",
                ),
            },
            required=["cmd"],
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        arguments = arguments_of(call, ExecArguments)
        session = scope.session
        settings = session.settings
        shell = arguments.shell or "/bin/bash"
        argv = [shell, "-lc" if arguments.login else "-c", arguments.cmd]
        cwd = os.path.normpath(os.path.join(settings.cwd, arguments.workdir or ""))
        escalated = arguments.sandbox_permissions == "require_escalated"
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
            rules=self._terminals.rules,
            reason=arguments.justification,
        )
        if isinstance(decision, Forbid):
            raise ToolRefused(tool_output.exec_rejected(decision.reason))
        if self._terminals.full:
            raise ToolRefused(f"too many commands are still running ({MAX_TERMINALS}); end some first")
        asked = False
        if isinstance(decision, Ask):
            key = approval_key(argv, cwd, arguments.sandbox_permissions)
            if key not in scope.approvals.granted:
                asked = True
                await self._ask(scope, item, argv, decision, key)
        return await self._run(scope, item, argv, cwd, arguments, sandboxed=decision.sandboxed, asked=asked)

    async def _ask(
        self, scope: TurnScope, item: CommandExecutionItem, argv: list[str], decision: Ask, key: str
    ) -> None:
        session, approvals = scope.session, scope.approvals
        approvals.waiting()
        session.item_started(scope.turn_id, item)
        assert item.started_at_ms is not None
        params = CommandApprovalParams(
            thread_id=session.id,
            turn_id=scope.turn_id,
            item_id=item.id,
            started_at_ms=item.started_at_ms,
            environment_id="local",
            command=item.command,
            cwd=item.cwd,
            command_actions=item.command_actions,
        )
        if decision.reason:
            params.reason = decision.reason
        choices: list[CommandDecision] = ["accept", "cancel"]
        if decision.amendment:
            amendment = list(decision.amendment)
            params.proposed_execpolicy_amendment = amendment
            offer = Amendment(execpolicy_amendment=amendment)
            choices.insert(1, AcceptWithAmendment(acceptWithExecpolicyAmendment=offer))
        params.available_decisions = choices
        try:
            answer = await approvals.ask(
                "item/commandExecution/requestApproval", params, CommandApprovalResponse
            )
        except Unanswerable:
            item.status = "failed"
            session.item_completed(scope.turn_id, item)
            approvals.resume()
            raise ToolRefused(tool_output.exec_rejected(tool_output.APPROVAL_FAILED)) from None
        verdict = answer.decision
        if verdict in ("decline", "cancel"):
            item.status = "declined"
            session.item_completed(scope.turn_id, item)
            approvals.resume()
            if verdict == "cancel":
                raise TurnCancelled
            raise ToolRefused(tool_output.exec_rejected(tool_output.REJECTED_BY_USER))
        if verdict == "acceptForSession":
            approvals.granted.add(key)
        elif isinstance(verdict, AcceptWithAmendment):
            prefix = tuple(verdict.acceptWithExecpolicyAmendment.execpolicy_amendment)
            self._terminals.rules.append(Rule(prefix))
        approvals.resume()

    async def _run(
        self,
        scope: TurnScope,
        item: CommandExecutionItem,
        argv: list[str],
        cwd: str,
        arguments: ExecArguments,
        *,
        sandboxed: bool,
        asked: bool,
    ) -> str:
        session = scope.session
        number = self._terminals.number()
        terminal = Terminal(scope, item, number)
        policy = ShellEnvironmentPolicy(**msgspec.structs.asdict(session.settings.shell_environment))
        try:
            prepared = plan(
                argv,
                cwd=cwd,
                workspace=session.settings.cwd,
                policy=session.settings.sandbox,
                env=environment(policy, os.environ, thread_id=session.id),
                masked=(os.path.join(session.home, "auth.json"),),
                sandboxed=sandboxed,
                output_cap=OUTPUT_CAP,
                # Not a pipe: rg and others read a pipe instead of the files, and would wait for ever.
                stdin="pty" if arguments.tty else "null",
                pty_size=TERMINAL_SIZE if arguments.tty else None,
                ids=Ids(thread=session.id, turn=scope.turn_id, item=item.id),
            )
            item.process_id = str(number)
            item.source = "unifiedExecStartup"
            if not asked:
                session.item_started(scope.turn_id, item)
            terminal.command = await run_with_plan(prepared, terminal.output)
        except SandboxError as error:
            if item.started_at_ms is not None:
                item.status = "failed"
                item.aggregated_output = str(error)
                session.item_completed(scope.turn_id, item)
            raise ToolRefused(f"exec_command failed: {error}") from None
        self._terminals.watch(terminal)
        return await _yield_output(terminal, arguments.yield_time_ms, arguments.max_output_tokens)


class WriteStdin:
    name = "write_stdin"

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals

    def definition(self) -> Mapping[str, Any]:
        return _function(
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

    async def call(self, scope: TurnScope, call: Call) -> str:
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
            return await _yield_output(
                terminal, arguments.yield_time_ms or DEFAULT_STDIN_YIELD_MS, arguments.max_output_tokens
            )
        finally:
            terminal.tell_interaction()


async def _yield_output(terminal: Terminal, wait_ms: int | None, tokens: int | None) -> str:
    """Wait until the command ends or the time is up, and tell the model what was printed."""
    assert terminal.command is not None
    assert terminal.finished is not None
    wanted = DEFAULT_YIELD_MS if wait_ms is None else wait_ms
    seconds = min(max(wanted, MIN_YIELD_MS), MAX_YIELD_MS) / 1000
    began = time.monotonic()
    # Shielded: the command goes on when the wait is over or the turn is cancelled (whoever cancels ends it).
    await asyncio.wait((terminal.finished,), timeout=seconds)
    wall = time.monotonic() - began
    captured = terminal.take_unread()
    limit = DEFAULT_OUTPUT_TOKENS if tokens is None else tokens
    if not terminal.finished.done():
        return tool_output.exec_result(
            captured.text(),
            chunk_id=_chunk_id(),
            wall_seconds=wall,
            session_id=terminal.number,
            max_tokens=limit,
        )
    result = terminal.finished.result()
    if result.setup_failed is not None:
        raise ToolRefused(
            f"exec_command failed: {result.setup_failed.reason} {result.setup_failed.remedy}".rstrip()
        )
    return tool_output.exec_result(
        captured.text(), chunk_id=_chunk_id(), wall_seconds=wall, exit_code=result.exit_code, max_tokens=limit
    )


def _chunk_id() -> str:
    return secrets.token_hex(3)


def _function(
    name: str, description: str, parameters: Mapping[str, tuple[str, str]], *, required: list[str]
) -> Mapping[str, Any]:
    properties: dict[str, Any] = {}
    for key, (kind, text) in parameters.items():
        properties[key] = {"type": kind, "description": text}
        if kind == "array":
            properties[key]["items"] = {"type": "string"}
    return {
        "type": "function",
        "name": name,
        "description": description,
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
    }
