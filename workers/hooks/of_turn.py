"""The points of a turn at which hooks run, and what their answers change. Without hooks each costs a look at a tuple."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape

import msgspec

from protocol.hooks import HookEventName
from protocol.items import HookPromptFragment
from workers.hooks.outcome import Outcome
from workers.hooks.runs import Happening
from workers.instructions import message

if TYPE_CHECKING:
    from workers.session import Session

__all__ = ["HOOK_PROMPT", "PromptVerdict", "TurnHooks", "end_session", "hook_prompt"]

END_REASON = "other"
"""The only one that Codex 0.169 was seen to give."""
HOOK_PROMPT = "<hook_prompt"
"""How messages begin with which a hook keeps the model going."""


class PromptVerdict(msgspec.Struct, frozen=True):
    """`contexts`: what the model is told with the prompt, or although it does not get it."""

    allowed: bool = True
    contexts: tuple[str, ...] = ()


def hook_prompt(fragment: HookPromptFragment) -> str:
    """As the model gets it: in the user's place, but not his words."""
    run = escape(fragment.hook_run_id, {'"': "&quot;"})
    return f'{HOOK_PROMPT} hook_run_id="{run}">{escape(fragment.text)}</hook_prompt>'


async def end_session(session: Session) -> None:
    """The thread is unloaded, or the server ends. A session that has not started does not end."""
    if not session.settings.hooks or session.hooks.begun is not None:
        return
    said = {
        "session_id": session.id,
        "transcript_path": None if session.ephemeral else str(session.writer.path),
        "cwd": session.settings.cwd,
        "hook_event_name": "SessionEnd",
        "reason": END_REASON,
    }
    last = session.turns[-1].id if session.turns else None
    await session.hooks.run(session, Happening("sessionEnd", said, (END_REASON,), last))


class TurnHooks:
    def __init__(self, session: Session, turn_id: str) -> None:
        self._session = session
        self._turn_id = turn_id
        self._kept_going = False

    @property
    def any(self) -> bool:
        return bool(self._session.settings.hooks)

    def any_at(self, event: HookEventName) -> bool:
        return any(hook.event == event for hook in self._session.settings.hooks)

    # --- the conversation ---------------------------------------------------------------------------------------

    async def begin_session(self) -> bool:
        """If the conversation begins with this turn; whether the turn goes on."""
        session = self._session
        source, session.hooks.begun = session.hooks.begun, None
        if source is None or not self.any:
            return True
        said = self._said("SessionStart", turn=False) | {"source": source}
        outcomes = await self._run("sessionStart", said, names=(source,))
        self._remember(outcomes)
        return all(outcome.stop is None for outcome in outcomes)

    async def prompt(self, text: str) -> PromptVerdict:
        """The user has said something."""
        if not self.any:
            return PromptVerdict()
        said = self._said("UserPromptSubmit") | {"prompt": text}
        outcomes = await self._run("userPromptSubmit", said)
        return PromptVerdict(
            all(outcome.block is None and outcome.stop is None for outcome in outcomes),
            tuple(outcome.context for outcome in outcomes if outcome.context is not None),
        )

    async def stopping(self, last: str | None) -> list[HookPromptFragment]:
        """The model has nothing more to do; what it is told if it has to go on all the same."""
        if not self.any:
            return []
        said = self._said("Stop") | {"stop_hook_active": self._kept_going, "last_assistant_message": last}
        ran = await self._session.hooks.run(self._session, Happening("stop", said, turn_id=self._turn_id))
        if any(outcome.stop is not None for _, outcome in ran):
            return []
        fragments = [
            HookPromptFragment(hook_run_id=run, text=outcome.block)
            for run, outcome in ran
            if outcome.block is not None
        ]
        self._kept_going = self._kept_going or bool(fragments)
        return fragments

    async def interrupted(self) -> None:
        if self.any and not self._session.hooks.ending:
            await self._run("interrupt", self._said("Interrupt"))

    # --- tools ------------------------------------------------------------------------------------------------------

    async def before_tool(self, names: tuple[str, ...], said: Any, call_id: str) -> Outcome:
        """`names`: the tool's, then those that matchers may call it by. `said`: its input."""
        given = self._said("PreToolUse") | {"tool_name": names[0], "tool_input": said, "tool_use_id": call_id}
        outcomes = await self._run("preToolUse", given, names=names, call_id=call_id)
        self._remember(outcomes)
        return _combined(outcomes)

    async def after_tool(self, names: tuple[str, ...], said: Any, response: Any, call_id: str) -> str | None:
        """What the model gets in place of the output; None: the output."""
        given = self._said("PostToolUse") | {
            "tool_name": names[0],
            "tool_input": said,
            "tool_response": response,
            "tool_use_id": call_id,
        }
        outcomes = await self._run("postToolUse", given, names=names, call_id=call_id)
        self._remember(outcomes)
        return _combined(outcomes).block

    async def permission(self, names: tuple[str, ...], said: Any, call_id: str) -> Outcome:
        """The user is about to be asked: `block` or `allowed` is an answer in his place."""
        if not self.any:
            return Outcome()
        given = self._said("PermissionRequest") | {"tool_name": names[0], "tool_input": said}
        return _combined(await self._run("permissionRequest", given, names=names, call_id=call_id))

    # --- making room ------------------------------------------------------------------------------------------------

    async def compaction(self, point: Literal["PreCompact", "PostCompact"], trigger: str) -> bool:
        """Before and after the history is summed up; whether the turn goes on."""
        if not self.any:
            return True
        event: HookEventName = "preCompact" if point == "PreCompact" else "postCompact"
        said = self._said(point, mode=False) | {"trigger": trigger}
        outcomes = await self._run(event, said, names=(trigger,))
        return all(outcome.stop is None for outcome in outcomes)

    # --- requests to the model, see `of_request` --------------------------------------------------------------------

    async def run_at(self, name: str, event: HookEventName, more: dict[str, Any]) -> None:
        """`more`: what hooks are told of this event besides where they are."""
        await self._run(event, self._said(name, mode=False) | more)

    def run_detached(self, name: str, event: HookEventName, more: dict[str, Any]) -> None:
        """As `run_at`, and nobody waits. A worker that ends has no time for hooks."""
        if not self._session.hooks.ending:
            said = self._said(name, mode=False) | more
            self._session.hooks.run_detached(self._session, Happening(event, said, turn_id=self._turn_id))

    # --- what they have in common -----------------------------------------------------------------------------------

    def _said(self, name: str, *, turn: bool = True, mode: bool = True) -> dict[str, Any]:
        session = self._session
        said: dict[str, Any] = {"session_id": session.id}
        if turn:
            said["turn_id"] = self._turn_id
        said |= {
            "transcript_path": None if session.ephemeral else str(session.writer.path),
            "cwd": session.settings.cwd,
            "hook_event_name": name,
            "model": session.settings.model,
        }
        if mode:
            never = session.settings.approval_policy == "never"
            said["permission_mode"] = "bypassPermissions" if never else "default"
        return said

    async def _run(
        self,
        event: HookEventName,
        said: dict[str, Any],
        *,
        names: tuple[str, ...] = (),
        call_id: str | None = None,
    ) -> list[Outcome]:
        happening = Happening(event, said, names, self._turn_id, call_id)
        return [outcome for _, outcome in await self._session.hooks.run(self._session, happening)]

    def _remember(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.context is not None:
                self._session.remember(message("developer", outcome.context))


def _combined(outcomes: list[Outcome]) -> Outcome:
    """The first that blocks counts, and the last that changes the input."""
    whole = Outcome()
    for outcome in outcomes:
        whole.block = outcome.block if whole.block is None else whole.block
        whole.allowed = whole.allowed or outcome.allowed
        if outcome.updated_input is not None:
            whole.updated_input = outcome.updated_input
    return whole
