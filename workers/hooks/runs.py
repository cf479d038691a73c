"""The hooks of one thread: which run at an event, side by side, and what clients see of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from config.hooks import Hook
from protocol.hooks import HookEventName, HookRun, HookRunSummary, HookScope
from sandbox_backends.command import RunningCommand
from workers.hooks.outcome import Outcome, read_outcome
from workers.hooks.program import Ran, run_hook
from workers.hooks.spill import fitted
from workers.hooks.tool import call_tool
from workers.instructions import message

if TYPE_CHECKING:
    from workers.mcp.servers import McpServers
    from workers.session import Session

__all__ = ["Begun", "Happening", "HookRuns"]

Begun = Literal["startup", "resume", "clear", "fork", "compact"]
"""Why a thread's conversation begins, or begins anew."""
_LABELS: dict[HookEventName, str] = {
    "preToolUse": "pre-tool-use",
    "permissionRequest": "permission-request",
    "postToolUse": "post-tool-use",
    "preCompact": "pre-compact",
    "postCompact": "post-compact",
    "sessionStart": "session-start",
    "sessionEnd": "session-end",
    "userPromptSubmit": "user-prompt-submit",
    "stop": "stop",
    "interrupt": "interrupt",
    "preModelRequest": "pre-model-request",
    "postModelRequest": "post-model-request",
}
_Run = tuple[Hook, HookRunSummary]
"""A hook that is to be run, and what clients know of it."""
_OF_THREAD = ("sessionStart", "sessionEnd")
_EXACT = re.compile(r"[A-Za-z0-9_|]*")
"""Matchers that are names, or several; all others are expressions, to be found anywhere in the name."""


class Happening(msgspec.Struct, frozen=True):
    """Something that hooks may be for. `said`: what they get on stdin. `names`: what matchers look at; empty: nothing."""

    event: HookEventName
    said: dict[str, Any]
    names: tuple[str, ...] = ()
    turn_id: str | None = None
    call_id: str | None = None


class HookRuns:
    """Of one thread. `begun` waits for the next turn: a session starts when somebody speaks."""

    def __init__(self) -> None:
        self.begun: Begun | None = None
        self.servers: McpServers | None = None
        """Those of the thread, whose tools may be hooks."""
        self.ending = False
        """Whether the worker ends; a turn that ends with it was interrupted by nobody."""
        self._late: list[str] = []
        self._beside: set[asyncio.Task[object]] = set()
        self._left: list[RunningCommand] = []

    @property
    def idle(self) -> bool:
        """Whether none runs beside the turns."""
        return not self._beside

    async def run(self, session: Session, happening: Happening) -> list[tuple[str, Outcome]]:
        """Run all that match, and wait for those that are not asynchronous: the id and the outcome of each, in order.

        Cancelling this ends them.
        """
        return await self._finish(session, self._begin(session, happening), happening)

    def run_detached(self, session: Session, happening: Happening) -> None:
        """Run all that match, as `run` does, but nobody waits for them: their turn may end before they do."""
        if runs := self._begin(session, happening):
            self._keep(self._finish(session, runs, happening))

    def _begin(self, session: Session, happening: Happening) -> list[_Run]:
        """Start those that are asynchronous, and tell clients of the others, which are yet to be run."""
        hooks = [hook for hook in session.settings.hooks if _matches(hook, happening)]
        runs = [(hook, _summary(hook, happening)) for hook in hooks if not hook.asynchronous]
        for hook in hooks:
            if hook.asynchronous:
                self._keep(self._run_beside(session, hook, happening))
        for _, run in runs:
            _tell(session, "hook/started", happening, run)
        return runs

    def _keep(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _finish(
        self, session: Session, runs: Sequence[_Run], happening: Happening
    ) -> list[tuple[str, Outcome]]:
        if not runs:
            return []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._timed(session, hook, happening)) for hook, _ in runs]
        outcomes: list[tuple[str, Outcome]] = []
        for (hook, run), task in zip(runs, tasks, strict=True):
            ran, seconds = task.result()
            outcome = read_outcome(happening.event, ran)
            run.status, run.entries = outcome.status, outcome.entries
            run.completed_at, run.duration_ms = int(time.time()), round(seconds * 1000)
            _tell(session, "hook/completed", happening, run)
            if outcome.context is not None:
                outcome.context = fitted(outcome.context, hook.context_limit)
            outcomes.append((run.id, outcome))
        return outcomes

    async def _run_beside(self, session: Session, hook: Hook, happening: Happening) -> None:
        """Clients do not see it, and it can forbid nothing any more. What it says, the model hears with the next request."""
        ran, _ = await self._timed(session, hook, happening)
        outcome = read_outcome(happening.event, ran)
        if outcome.context is not None:
            self._late.append(fitted(outcome.context, hook.context_limit))

    async def _timed(self, session: Session, hook: Hook, happening: Happening) -> tuple[Ran, float]:
        began = time.monotonic()
        if isinstance(hook.runs, str):
            said = msgspec.json.encode(happening.said)
            ran = await run_hook(session, hook, said, happening.turn_id)
        else:
            ran = await call_tool(self.servers, hook, happening.said, session.id)
        return ran, time.monotonic() - began

    def left_running(self, command: RunningCommand) -> None:
        """A hook has ended, and something that it started has not: that may run on as long as the worker."""
        self._left.append(command)

    def tell_late(self, session: Session) -> None:
        late, self._late = self._late, []
        for text in late:
            session.remember(message("developer", text))

    async def close(self, session: Session) -> None:
        """End those that run beside. What they have said the model hears when the thread goes on."""
        for task in self._beside:
            task.cancel()
        if self._beside:
            await asyncio.wait(self._beside)
        await asyncio.gather(*(command.end(0) for command in self._left))
        self.tell_late(session)


def _matches(hook: Hook, happening: Happening) -> bool:
    if hook.event != happening.event:
        return False
    matcher = hook.matcher
    if not matcher or matcher == "*" or not happening.names:
        return True
    if _EXACT.fullmatch(matcher):
        return not set(matcher.split("|")).isdisjoint(happening.names)
    return any(re.search(matcher, name) for name in happening.names)


def _summary(hook: Hook, happening: Happening) -> HookRunSummary:
    identity = f"{_LABELS[hook.event]}:{hook.order}:{hook.source_path}"
    scope: HookScope = "thread" if hook.event in _OF_THREAD else "turn"
    return HookRunSummary(
        id=identity if happening.call_id is None else f"{identity}:{happening.call_id}",
        event_name=hook.event,
        handler_type=hook.handler_type,
        scope=scope,
        source_path=hook.source_path,
        source=hook.source,
        display_order=hook.order,
        status="running",
        status_message=hook.status_message,
        started_at=int(time.time()),
    )


def _tell(session: Session, method: str, happening: Happening, run: HookRunSummary) -> None:
    session.notify(method, HookRun(thread_id=session.id, turn_id=happening.turn_id, run=run))
