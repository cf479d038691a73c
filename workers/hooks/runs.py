"""The hooks of one thread: which run at an event, side by side, and what clients see of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from config.hooks import Hook
from protocol.hooks import HookEventName, HookRun, HookRunSummary, HookScope
from sandbox_backends.command import RunningCommand
from workers.hooks.outcome import Outcome, read_outcome
from workers.hooks.program import Ran, run_hook
from workers.hooks.spill import fitted
from workers.instructions import message

if TYPE_CHECKING:
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
}
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
        self.ending = False
        """Whether the worker ends; a turn that ends with it was interrupted by nobody."""
        self._late: list[str] = []
        self._beside: set[asyncio.Task[None]] = set()
        self._left: list[RunningCommand] = []

    @property
    def idle(self) -> bool:
        """Whether none runs beside the turns."""
        return not self._beside

    async def run(self, session: Session, happening: Happening) -> list[tuple[str, Outcome]]:
        """Run all that match, and wait for those that are not asynchronous: the id and the outcome of each, in order.

        Cancelling this ends them.
        """
        hooks = [hook for hook in session.settings.hooks if _matches(hook, happening)]
        if not hooks:
            return []
        said = msgspec.json.encode(happening.said)
        for hook in hooks:
            if hook.asynchronous:
                task = asyncio.ensure_future(self._run_beside(session, hook, happening, said))
                self._beside.add(task)
                task.add_done_callback(self._beside.discard)
        return await self._run_now(
            session, [hook for hook in hooks if not hook.asynchronous], happening, said
        )

    async def _run_now(
        self, session: Session, hooks: Sequence[Hook], happening: Happening, said: bytes
    ) -> list[tuple[str, Outcome]]:
        runs = [_summary(hook, happening) for hook in hooks]
        for run in runs:
            _tell(session, "hook/started", happening, run)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_timed(session, hook, said, happening)) for hook in hooks]
        outcomes: list[tuple[str, Outcome]] = []
        for run, hook, task in zip(runs, hooks, tasks, strict=True):
            ran, seconds = task.result()
            outcome = read_outcome(happening.event, ran)
            run.status, run.entries = outcome.status, outcome.entries
            run.completed_at, run.duration_ms = int(time.time()), round(seconds * 1000)
            _tell(session, "hook/completed", happening, run)
            if outcome.context is not None:
                outcome.context = fitted(outcome.context, hook.context_limit)
            outcomes.append((run.id, outcome))
        return outcomes

    async def _run_beside(self, session: Session, hook: Hook, happening: Happening, said: bytes) -> None:
        """Clients do not see it, and it can forbid nothing any more. What it says, the model hears with the next request."""
        outcome = read_outcome(happening.event, await run_hook(session, hook, said, happening.turn_id))
        if outcome.context is not None:
            self._late.append(fitted(outcome.context, hook.context_limit))

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


async def _timed(session: Session, hook: Hook, said: bytes, happening: Happening) -> tuple[Ran, float]:
    began = time.monotonic()
    ran = await run_hook(session, hook, said, happening.turn_id)
    return ran, time.monotonic() - began


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
