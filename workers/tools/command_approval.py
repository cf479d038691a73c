"""Asking about commands: before they run, and after the sandbox stopped one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from protocol.items import CommandExecutionItem
from protocol.notifications import (
    AcceptWithAmendment,
    Amendment,
    CommandApprovalParams,
    CommandDecision,
    ConfigWarning,
    Warned,
)
from sandbox_backends.decision import Ask, Rule
from sandbox_backends.plan import Escalation
from sandbox_backends.rules import RuleBook, remember
from workers.approvals import Unanswerable
from workers.hooks.of_tools import BASH
from workers.permissions import Permissions
from workers.tools import tool_output
from workers.tools.tool import ToolRefused, TurnCancelled, TurnScope

__all__ = ["CommandApproval", "CommandUse"]

BROKEN_RULES = "Error parsing rules; custom rules not applied."
PREFIX_ALLOWED = "The user allowed for good: commands that begin with\n- {}"
"""What the model is told, so that it need not ask for them again."""


class NetworkRule(msgspec.Struct, kw_only=True):
    host: str
    action: Literal["allow", "deny"]


class NetworkAmendment(msgspec.Struct, kw_only=True):
    network_policy_amendment: NetworkRule


class Amended(msgspec.Struct, kw_only=True):
    """One of the two. A rule for a host counts for this command alone: there is no proxy to give it to."""

    acceptWithExecpolicyAmendment: Amendment | None = None
    applyNetworkPolicyAmendment: NetworkAmendment | None = None

    def __post_init__(self) -> None:
        if (self.acceptWithExecpolicyAmendment is None) == (self.applyNetworkPolicyAmendment is None):
            raise ValueError("one amendment is wanted")

    @property
    def denies(self) -> bool:
        network = self.applyNetworkPolicyAmendment
        return network is not None and network.network_policy_amendment.action == "deny"


Verdict = Literal["accept", "acceptForSession", "decline", "cancel"] | Amended


class _Answer(msgspec.Struct, kw_only=True):
    """`CommandApprovalResponse` with all that may be decided; its own type is what is offered here."""

    decision: Verdict


class CommandUse(msgspec.Struct, frozen=True):
    """What hooks get of a command: its script, and the model's reason for what it wants beyond the sandbox."""

    script: str
    reason: str | None = None

    def shown(self) -> dict[str, str]:
        return {"command": self.script} | ({"description": self.reason} if self.reason else {})


class CommandApproval:
    """The rules for one thread's commands, and the questions about them."""

    def __init__(self) -> None:
        self._accepted: list[Rule] = []
        """Those the user accepted in this thread; they hold even where they could not be stored."""
        self._book: RuleBook | None = None

    def rules(self, scope: TurnScope) -> Sequence[Rule]:
        """All rules that hold now; a mistake in a file is told once."""
        if self._book is None:
            self._book = RuleBook(scope.session.home)
        rules = self._book.rules()
        for mistake in self._book.untold():
            warning = ConfigWarning(summary=BROKEN_RULES, details=str(mistake), path=mistake.file)
            scope.session.notify("configWarning", warning)
        return (*rules, *self._accepted)

    async def ask(
        self,
        scope: TurnScope,
        item: CommandExecutionItem,
        decision: Ask,
        key: str,
        use: CommandUse,
        *,
        further: Permissions | None = None,
    ) -> bool:
        """Ask before the item's command runs, unless a hook answers. `further`: what it is to have on top.

        Returns whether the user was asked, which starts the item.

        Raises:
            ToolRefused, TurnCancelled: the item, if it was started, is completed then.
        """
        said = await scope.hooks.permission(BASH, use.shown(), item.id)
        if said.block is not None:
            raise ToolRefused(tool_output.exec_rejected(said.block))
        if said.allowed:
            return False
        scope.approvals.waiting()
        scope.session.item_started(scope.turn_id, item)
        choices: list[CommandDecision] = ["accept", "cancel"]
        params = self._question(scope, item, decision.reason)
        if further is not None:
            params.additional_permissions = further.shown()
        if decision.amendment:
            amendment = list(decision.amendment)
            params.proposed_execpolicy_amendment = amendment
            if further is None:
                offer = Amendment(execpolicy_amendment=amendment)
                choices.insert(1, AcceptWithAmendment(acceptWithExecpolicyAmendment=offer))
        params.available_decisions = choices
        verdict = await self._put(scope, item, params)
        if verdict in ("decline", "cancel"):
            item.status = "declined"
            scope.session.item_completed(scope.turn_id, item)
            scope.approvals.resume()
            if verdict == "cancel":
                raise TurnCancelled
            raise ToolRefused(tool_output.exec_rejected(tool_output.REJECTED_BY_USER))
        self._learn(scope, verdict, key)
        scope.approvals.resume()
        return True

    async def ask_again(
        self, scope: TurnScope, item: CommandExecutionItem, escalation: Escalation, use: CommandUse
    ) -> bool:
        """Ask whether to run once more without the sandbox; the item is open. False: no.

        Raises:
            ToolRefused, TurnCancelled: the item is completed then.
        """
        said = await scope.hooks.permission(BASH, use.shown(), item.id)
        if said.block is not None or said.allowed:
            return said.block is None
        scope.approvals.waiting()
        params = self._question(scope, item, escalation.reason)
        params.available_decisions = ["accept", "cancel"]
        verdict = await self._put(scope, item, params)
        if verdict == "cancel":
            item.status = "declined"
            scope.session.item_completed(scope.turn_id, item)
            scope.approvals.resume()
            raise TurnCancelled
        if verdict != "decline":
            self._learn(scope, verdict, escalation.approval_key)
        scope.approvals.resume()
        return verdict != "decline"

    @staticmethod
    def _question(scope: TurnScope, item: CommandExecutionItem, reason: str | None) -> CommandApprovalParams:
        assert item.started_at_ms is not None
        params = CommandApprovalParams(
            thread_id=scope.session.id,
            turn_id=scope.turn_id,
            item_id=item.id,
            started_at_ms=item.started_at_ms,
            environment_id="local",
            command=item.command,
            cwd=item.cwd,
            command_actions=item.command_actions,
        )
        if reason:
            params.reason = reason
        return params

    @staticmethod
    async def _put(scope: TurnScope, item: CommandExecutionItem, params: CommandApprovalParams) -> Verdict:
        try:
            answer = await scope.approvals.ask("item/commandExecution/requestApproval", params, _Answer)
        except Unanswerable:
            item.status = "failed"
            scope.session.item_completed(scope.turn_id, item)
            scope.approvals.resume()
            raise ToolRefused(tool_output.exec_rejected(tool_output.APPROVAL_FAILED)) from None
        decision = answer.decision
        return "decline" if isinstance(decision, Amended) and decision.denies else decision

    def _learn(self, scope: TurnScope, verdict: Verdict, key: str) -> None:
        """Remember an acceptance as it was meant: for this command, or for all that begin so, for good."""
        if verdict == "acceptForSession":
            scope.approvals.granted.add(key)
        elif isinstance(verdict, Amended) and verdict.acceptWithExecpolicyAmendment is not None:
            prefix = tuple(verdict.acceptWithExecpolicyAmendment.execpolicy_amendment)
            if not prefix:
                return
            self._accepted.append(Rule(prefix))
            scope.news.append(PREFIX_ALLOWED.format(msgspec.json.encode(prefix).decode()))
            try:
                remember(scope.session.home, prefix)
            except OSError as error:
                text = f"The rule holds for this thread only: {error.strerror}: {error.filename}"
                scope.session.notify("warning", Warned(thread_id=scope.session.id, message=text))
