"""Commands under way: their items, their output as it comes, and what the model has not seen of it yet."""

from __future__ import annotations

import asyncio
import random
import secrets
import time

from protocol.items import CommandExecutionItem
from protocol.notifications import ItemDelta, TerminalInteraction
from sandbox_backends import identity
from sandbox_backends.command import RunningCommand
from sandbox_backends.output import Captured, HeadTail, TextStream
from sandbox_backends.result import ExecResult
from workers.tools import tool_output
from workers.tools.tool import Answer, ToolRefused, TurnScope

__all__ = ["MAX_TERMINALS", "OUTPUT_CAP", "Terminal", "Terminals", "yield_output"]

DEFAULT_YIELD_MS = 10_000
MIN_YIELD_MS, MAX_YIELD_MS = 250, 30_000
DEFAULT_OUTPUT_TOKENS = 10_000
DELTA_PAUSE_S = 0.05
"""Output is gathered for so long: joining pieces is worth more than any codec, and 50 ms is no delay to a reader."""
DELTA_BYTES = 64 * 1024
MAX_DELTAS = 10_000
"""A flood is cut off here; the item's aggregated output keeps both ends."""
OUTPUT_CAP = 1024 * 1024
SESSION_NUMBERS = range(1000, 100_000)
KILLED = -1
"""Exit code of a command that was ended because nobody has a use for it."""
MAX_TERMINALS = 64
"""Live sessions a thread may hold; more are refused with a word to the model."""


class Terminal:
    """One command under way, its item and its output.

    `patient`: what a command prints that is over before its first delta is told with its item alone.
    """

    def __init__(
        self, scope: TurnScope, item: CommandExecutionItem, number: int, *, patient: bool = True
    ) -> None:
        self.scope = scope
        self.item = item
        self.number = number
        self.script = item.command
        """What was asked for, without the shell around it."""
        self.command: RunningCommand | None = None
        self.started = time.monotonic()
        self.unread = HeadTail(OUTPUT_CAP)
        """What the model has not seen yet."""
        self.interaction: TerminalInteraction | None = None
        """What was written and not told yet: it is told with what came of it, but before the item's end."""
        self._text = TextStream()
        self._fresh = bytearray()
        self._deltas = 0
        self._patient = patient
        self._timer: asyncio.TimerHandle | None = None
        self.finished: asyncio.Task[ExecResult] | None = None
        self.answered = False
        """Whether the call that started it has told the model its number."""
        self.forsaken = False
        self.holds = False
        """Whether its item stays open when the sandbox stopped it, since it may run again."""
        self.held: ExecResult | None = None

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

    def release(self, *, tell: bool) -> None:
        """Let go of a held end: told as the item's, or dropped for what comes after."""
        assert self.held is not None
        result, self.held = self.held, None
        self.complete(result, tell=tell)

    def complete(self, result: ExecResult, *, tell: bool) -> None:
        """The command has ended: the rest of its output, and its item."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        told = self._deltas > 0 or not self._patient
        if told and self._fresh and not self.scope.session.link.congested:
            self._tell()
        self._fresh.clear()
        self.tell_interaction()
        if not tell:
            return
        item = self.item
        item.status = "completed" if result.exit_code == 0 else "failed"
        item.exit_code = KILLED if self.forsaken and result.ended else result.exit_code
        item.aggregated_output = result.output.text() or None
        item.duration_ms = result.duration_ms
        self.scope.session.item_completed(self.scope.turn_id, item)


class Terminals:
    """The commands of one thread that are under way."""

    def __init__(self) -> None:
        self._live: dict[int, Terminal] = {}
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
        if terminal.command.pid is not None:
            identity.forget(terminal.scope.session.processes, terminal.command.pid)
        if terminal.holds and not terminal.answered and not terminal.forsaken and result.denial is not None:
            terminal.held = result
            return result
        # After an interrupt the item stays open, as with the peer.
        terminal.complete(result, tell=terminal.forsaken or not result.ended)
        return result

    @property
    def idle(self) -> bool:
        """Whether no command goes on."""
        return not self._live

    async def end_turn(self, turn_id: str) -> None:
        """After an interrupt: nothing that the turn started goes on."""
        doomed = [t for t in self._live.values() if t.scope.turn_id == turn_id]
        await self._end(doomed)

    async def end_unanswered(self) -> None:
        """After a failed response: nobody would ever know what its commands are called. Their items are completed."""
        doomed = [t for t in self._live.values() if not t.answered]
        for terminal in doomed:
            terminal.forsaken = True
        await self._end(doomed)

    def background(self) -> list[Terminal]:
        """Those whose numbers the model knows, oldest first."""
        return [terminal for terminal in self._live.values() if terminal.answered]

    async def end_background(self) -> None:
        """The user has no more use for them. Their items are completed."""
        for terminal in reversed(self.background()):
            await self.end_one(terminal)

    async def end_one(self, terminal: Terminal) -> None:
        terminal.forsaken = True
        await self._end([terminal])

    async def end_all(self) -> None:
        await self._end(list(self._live.values()))

    async def _end(self, doomed: list[Terminal]) -> None:
        await asyncio.gather(*(t.command.end() for t in doomed if t.command is not None))
        await asyncio.gather(*(t.finished for t in doomed if t.finished is not None), return_exceptions=True)


async def yield_output(terminal: Terminal, wait_ms: int | None, tokens: int | None) -> str | Answer:
    """Wait until the command ends or the time is up, and tell the model what was printed; an `Answer` if it has ended."""
    assert terminal.command is not None
    assert terminal.finished is not None
    wanted = DEFAULT_YIELD_MS if wait_ms is None else wait_ms
    seconds = min(max(wanted, MIN_YIELD_MS), MAX_YIELD_MS) / 1000
    began = time.monotonic()
    # Shielded: the command goes on when the wait is over or the turn is cancelled (whoever cancels ends it).
    await asyncio.wait((terminal.finished,), timeout=seconds)
    wall = time.monotonic() - began
    captured = terminal.take_unread()
    code = None
    if terminal.finished.done():
        result = terminal.finished.result()
        if result.setup_failed is not None:
            raise ToolRefused(
                f"exec_command failed: {result.setup_failed.reason} {result.setup_failed.remedy}".rstrip()
            )
        code = result.exit_code
    printed = captured.text(marked=False)
    text = tool_output.exec_result(
        printed,
        chunk_id=_chunk_id(),
        wall_seconds=wall,
        exit_code=code,
        session_id=terminal.number if code is None else None,
        max_tokens=DEFAULT_OUTPUT_TOKENS if tokens is None else tokens,
        omitted_bytes=captured.omitted,
        size=captured.total,
    )
    return text if code is None else Answer(text, printed, terminal.item.id, terminal.script)


def _chunk_id() -> str:
    return secrets.token_hex(3)
