"""A thread as its worker holds it: settings, history, rollout, status, and how it speaks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from config.resolve import ThreadSettings
from protocol import threads as wire
from protocol.base import Wire
from protocol.client_tools import DynamicTool
from protocol.items import ThreadItem
from protocol.link import Adopt, Record
from protocol.notifications import (
    ItemCompleted,
    ItemStarted,
    ThreadStatusChanged,
    TokenUsage,
)
from protocol.receipts import ThreadReadState, ThreadReadStateChanged
from protocol.rpc import notification_line
from protocol.threads import HistoryMode
from protocol.turns import Turn
from rollouts.entries import ItemEntry, response_item, turn_settings
from rollouts.git_facts import git_facts
from rollouts.heads import wire_git
from rollouts.kept import lasting
from rollouts.layout import Home
from rollouts.lines import Entry
from rollouts.notes import Note
from rollouts.pages import Pager
from rollouts.positions import Positions
from rollouts.prompt import paired
from rollouts.receipts import Receipts
from rollouts.turns import preview_of
from rollouts.writer import RolloutWriter
from sandbox_backends.own import belongings
from workers.briefing import Briefing
from workers.goal import Pursuit
from workers.hooks.runs import HookRuns
from workers.instructions import (
    base_instructions,
)
from workers.link import Link

__all__ = ["Session", "now_ms"]

_encode = msgspec.json.Encoder().encode

NO_RATE_LIMITS: dict[str, Any] = {
    "limitId": "codex",
    "limitName": None,
    "normalModelSlug": None,
    "primary": None,
    "secondary": None,
    "credits": None,
    "individualLimit": None,
    "spendControlReached": None,
    "planType": None,
    "rateLimitReachedType": None,
}
"""What is told of the limits as long as the provider has said nothing."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Session:
    """Everything about one thread that outlives a turn."""

    def __init__(
        self, adopt: Adopt, link: Link, settings: ThreadSettings, writer: RolloutWriter, *, ephemeral: bool
    ) -> None:
        self.id = adopt.thread_id
        self.link = link
        self.settings = settings
        self.writer = writer
        self.ephemeral = ephemeral
        self.user_agent = adopt.user_agent
        self.originator = adopt.originator
        self.home = adopt.home
        self.processes = adopt.processes
        self.own = belongings(adopt.home, adopt.runtime)
        self.created_at = int(time.time())
        self.updated_at = self.created_at
        self.history: list[bytes] = []
        """Model items as JSON, oldest first."""
        self.calls_injected = False
        """Calls without an output, or outputs without a call, may be among them."""
        self.turns: list[Turn] = []
        self.positions = Positions()
        self.preview = ""
        self.name: str | None = None
        self.note = Note()
        self.receipts = Receipts(Home(adopt.home))
        self.history_mode: HistoryMode = "paginated" if writer.paginated else "legacy"
        self.git_info: wire.GitInfo | None = None
        self.source: Any = "vscode"
        self.usage = TokenUsage()
        self.last_usage = TokenUsage()
        self.rate_limits: dict[str, Any] = NO_RATE_LIMITS
        self.needs_compaction = False
        self.plan_mode = False
        """The model plans and changes nothing; its proposed plans are items of their own."""
        self.mode_instructions: str | None = None
        """The client's own instructions for the mode, in place of ours."""
        self.pursuit = Pursuit(self)
        """Its goal."""
        self.hooks = HookRuns()
        self.disabled_plugins: list[str] = []
        self.dynamic_tools: Sequence[DynamicTool] = ()
        """Tools that the client runs."""
        self.status: wire.ThreadStatus = wire.IdleStatus()
        self.briefing = Briefing(self)
        """What the model has been told of where it works."""
        self.recorded_model: str | None = None

    # --- speaking ---------------------------------------------------------------------------------------------

    def notify(self, method: str, params: Wire) -> None:
        self.link.notify(method, params)

    def set_status(self, status: wire.ThreadStatus, *, tell: bool = True) -> None:
        self.status = status
        self.link.say(Record.STATUS, 0, _encode(status))
        if tell:
            self.notify("thread/status/changed", ThreadStatusChanged(thread_id=self.id, status=status))

    def tell_facts(self) -> None:
        facts = {
            "cwd": self.settings.cwd,
            "model": self.settings.model,
            "path": str(self.writer.path) if self.writer.stored else None,
            "preview": self.preview,
            "ephemeral": self.ephemeral,
            "name": self.name or "",
            "goal": self.pursuit.told,
            "skillRoots": self.settings.skills.roots,
            "skillsReadAt": self.settings.skills.read_at,
        }
        self.link.say(Record.FACTS, 0, _encode(facts))

    def item_started(self, turn_id: str, item: ThreadItem) -> None:
        item.started_at_ms = now_ms()
        self.notify(
            "item/started",
            ItemStarted(item=item, thread_id=self.id, turn_id=turn_id, started_at_ms=item.started_at_ms),
        )

    def item_completed(self, turn_id: str, item: ThreadItem, *, stored: bool = True) -> None:
        """Stored first: what a client has seen completed is in the rollout."""
        item.completed_at_ms = now_ms()
        if item.started_at_ms is None:
            item.started_at_ms = item.completed_at_ms
        kept = lasting(item)
        if stored:
            self.store([ItemEntry(turn_id, kept)])
        for turn in reversed(self.turns):
            if turn.id == turn_id:
                # Not always the last one: a command may end long after its turn.
                turn.items.append(kept)
                break
        self.notify(
            "item/completed",
            ItemCompleted(
                item=item, thread_id=self.id, turn_id=turn_id, completed_at_ms=item.completed_at_ms
            ),
        )

    def tell_unread(self, turn_id: str) -> None:
        """A turn has ended: clients may show that there is something to read."""
        if not self.ephemeral:
            with suppress(OSError):  # a full disk is told by what matters more
                self.say_read_state(self.receipts.turn_ended(self.id, turn_id))

    def say_read_state(self, state: ThreadReadState) -> None:
        self.notify("thread/readState/changed", ThreadReadStateChanged(thread_id=self.id, read_state=state))

    # --- storing ----------------------------------------------------------------------------------------------

    def store(self, entries: Iterable[Entry | ItemEntry]) -> None:
        first = not self.writer.stored
        if first:
            self._learn_repository()
        entries = list(entries)
        self.positions.note(entries, self.writer.append(entries))
        if first:
            self.tell_facts()

    def _learn_repository(self) -> None:
        """Where the thread's work begins: from its first line on, clients see it."""
        meta = self.writer.meta
        if meta.git is None:
            meta.git = git_facts(self.settings.cwd)
            self.git_info = wire_git(meta.git)

    def remember(self, *items: Mapping[str, Any]) -> None:
        """Add model items to the history and the rollout."""
        encoded = [_encode(item) for item in items]
        self.history.extend(encoded)
        self.store([response_item(item) for item in encoded])

    def model_items(self) -> list[msgspec.Raw]:
        if self.calls_injected:
            self.history, self.calls_injected = paired(self.history), False
        return [msgspec.Raw(item) for item in self.history]

    def replace_history(self, items: list[bytes]) -> None:
        """After a compaction, which told the context anew."""
        self.history = items
        self.briefing.surroundings_told()

    def accept_turn(self, key: int, turn_id: str, started_at_ms: int, reply: bytes) -> None:
        """Answer a turn/start; from here on the front ends the turn if we cannot, so it must know where that is stored."""
        if not self.writer.stored:
            self.materialize()
            self.tell_facts()
        self.link.say(Record.ACCEPTED, key, f"{turn_id} {started_at_ms}\n".encode() + reply)

    def say_last(self, method: str, params: Wire) -> None:
        """The last word of a turn."""
        self.link.say(Record.ENDED, 0, notification_line(method, params))

    def materialize(self) -> None:
        """Make sure that there is a file, e.g. to be archived."""
        if not self.writer.stored:
            self._learn_repository()
            self.writer.materialize()

    def stored_settings(self, turn_id: str) -> list[Entry]:
        """The settings of a turn, as lines."""
        settings = self.settings
        return turn_settings(
            self.id,
            turn_id,
            cwd=settings.cwd,
            roots=settings.workspace_roots,
            model=settings.model,
            model_provider=settings.provider.id,
            approval_policy=settings.approval_policy,
            approvals_reviewer=settings.approvals_reviewer,
            sandbox=settings.sandbox,
            effort=settings.reasoning_effort,
            summary=settings.reasoning_summary or "none",
            mode="plan" if self.plan_mode else "default",
            service_tier=settings.service_tier,
            profile_id=settings.permission_profile.id if settings.permission_profile else None,
        )

    # --- what clients see -------------------------------------------------------------------------------------

    @property
    def instructions(self) -> str:
        return self.settings.base_instructions or base_instructions()

    @property
    def pager(self) -> Pager:
        return Pager(self.id, self.turns, self.positions, paginated=self.history_mode != "legacy")

    def see_input(self, turn: Turn) -> None:
        self.begin_with(preview_of(turn.items))

    def begin_with(self, said: str) -> None:
        """What lists show of the thread, unless it has begun with something else."""
        if not self.preview:
            self.preview = said
            self.tell_facts()

    def close(self) -> None:
        self.writer.close()
