"""A turn with the model: the user's input, then responses and tool calls until there is nothing more to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from protocol.items import AgentMessageItem, HookPromptItem, UserMessageItem
from protocol.user_input import AudioInput, TextInput, UserInput
from rollouts.entries import TurnOrigin
from rollouts.ids import new_id
from workers import compaction
from workers.approvals import Approvals
from workers.dialogue import Dialogue
from workers.hooks.of_turn import hook_prompt
from workers.input import message_of
from workers.instructions import message
from workers.meter import Meter
from workers.models.errors import BadRequestError
from workers.provider import ModelAccess
from workers.session import Session
from workers.skills import skill_messages
from workers.toolbox import Toolbox
from workers.turn import TurnRun

__all__ = ["ModelTurn", "ShellTurn"]

NO_UPLOADED_AUDIO = (
    "unsupported operation: The selected model does not support uploaded audio. "
    "Choose an audio-capable model or remove the attachment."
)


class ModelTurn(TurnRun):
    """`items`: what the user says; None if somebody else begins the turn."""

    def __init__(
        self,
        session: Session,
        access: ModelAccess,
        toolbox: Toolbox,
        approvals: Approvals,
        items: list[UserInput] | None,
        *,
        client_id: str | None = None,
        output_schema: Any = None,
        service_tier: str | None = None,
        origin: TurnOrigin | None = None,
    ) -> None:
        super().__init__(session, toolbox, approvals, origin)
        self._access = access
        self._steered: list[tuple[list[UserInput], str | None]] = (
            [] if items is None else [(items, client_id)]
        )
        self._meter = Meter(session, self.id, self.scope.diff)
        self._dialogue = Dialogue(
            self.scope,
            access,
            toolbox,
            self._meter,
            lambda error: self.error(error, retry=True),
            output_schema=output_schema,
            service_tier=service_tier,
        )

    def steer(self, items: list[UserInput], client_id: str | None) -> None:
        """More input for the running turn: what the model is saying is dropped, and it is asked again."""
        self._steered.append((items, client_id))
        self._dialogue.drop()

    async def stop(self) -> None:
        await self._dialogue.stop()

    async def work(self) -> None:
        await self._converse(self.take_first_input)
        await self._finish_commands()

    async def _finish_commands(self) -> None:
        """Wait for the user's own commands; he may say something meanwhile, which the model is asked about then."""
        await self.shell.finish()
        while self._steered:
            await self._converse(self._take_steered)
            await self.shell.finish()

    async def _converse(self, take_input: Callable[[], Awaitable[bool]]) -> None:
        await self._go_on(take_input)
        # What is left was said before a hook ended the conversation.
        self._steered.clear()

    async def _go_on(self, take_input: Callable[[], Awaitable[bool]]) -> None:
        await self._make_room()
        self.session.briefing.give()
        if not await self.hooks.begin_session() or not await take_input():
            return
        if self.toolbox.servers:
            await self.toolbox.servers.settle(self.session.settings.mcp_grace_s)
        while True:
            self.session.hooks.tell_late(self.session)
            again = await self._dialogue.respond()
            self.worked = self.worked or again
            # What the user has run himself meanwhile is news for the model; so is what he has said.
            again = self.shell.remember_results() or again
            if self._steered:
                if not await self._take_steered():
                    return
                again = True
            again = self._take_goal_news(again=again) or again
            again = again or await self._kept_going()
            if not again:
                return
            await self._make_room()
            if not await self.hooks.begin_session():
                return

    async def _make_room(self) -> None:
        session = self.session
        if session.needs_compaction and session.history:
            await compaction.compact(session, self._access, self.id, self._meter, self.hooks)

    async def take_first_input(self) -> bool:
        """What the turn begins with; whether it goes on: hooks may keep it from the model."""
        return await self._take_steered()

    async def _kept_going(self) -> bool:
        """Whether hooks have more for the model to do, which it is told then."""
        fragments = await self.hooks.stopping(self._last_message())
        if self._steered:
            return await self._take_steered()
        if not fragments:
            return False
        session, item = self.session, HookPromptItem(id=f"msg_{new_id()}", fragments=fragments)
        session.remember({**message("user", *map(hook_prompt, fragments)), "id": item.id})
        session.item_started(self.id, item)
        session.item_completed(self.id, item)
        return True

    def _last_message(self) -> str | None:
        said = [item.text for item in self.turn.items if isinstance(item, AgentMessageItem)]
        return said[-1] if said else None

    def _take_goal_news(self, *, again: bool) -> bool:
        news = self.session.pursuit.news(again=again)
        if news is not None:
            self.session.remember(message("user", news))
        return news is not None

    async def _take_steered(self) -> bool:
        """What the user has said; False if hooks kept all of it from the model."""
        refused = taken = False
        while self._steered:
            if await self._take_input(*self._steered.pop(0)):
                taken = True
            else:
                refused = True
        return taken or not refused

    async def _take_input(self, items: list[UserInput], client_id: str | None) -> bool:
        if not items:
            return True
        session = self.session
        session.pursuit.user_spoke()
        text = "\n".join(item.text for item in items if isinstance(item, TextInput))
        verdict = await self.hooks.prompt(text)
        if verdict.allowed:
            self._tell_input(items, client_id)
        for context in verdict.contexts:
            session.remember(message("developer", context))
        return verdict.allowed

    def _tell_input(self, items: list[UserInput], client_id: str | None) -> None:
        session = self.session
        if any(isinstance(item, AudioInput) and isinstance(item.file_id, str) for item in items):
            raise BadRequestError(NO_UPLOADED_AUDIO, "badRequest")
        settings = session.settings
        said = message_of(items, settings.cwd, settings.model_info)
        session.remember(said, *skill_messages(items, settings))
        item = UserMessageItem(id=new_id(), client_id=client_id, content=items)
        session.item_started(self.id, item)
        session.item_completed(self.id, item)
        session.see_input(self.turn)


class ShellTurn(ModelTurn):
    """A command of the user's own while no turn ran. If he says something meanwhile the model is asked after it."""

    def __init__(
        self,
        session: Session,
        access: ModelAccess,
        toolbox: Toolbox,
        approvals: Approvals,
        *,
        command: str,
        timeout_ms: int | None,
    ) -> None:
        super().__init__(session, access, toolbox, approvals, None)
        self._command = command
        self._timeout_ms = timeout_ms

    async def work(self) -> None:
        self.session.briefing.give()
        self.shell.start(self._command, self._timeout_ms)
        await self._finish_commands()
