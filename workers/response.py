"""One response of the model: its events become items for clients, lines in the rollout, and tool calls."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeVar

from protocol.items import AgentMessageItem, PlanItem, ReasoningItem, WebSearchItem
from protocol.notifications import ItemDelta, ReasoningTextDelta, SummaryPartAdded, SummaryTextDelta
from rollouts.items import query_of, web_action_of
from workers.models import events
from workers.proposed_plan import PlanSplitter, split_plan
from workers.session import Session
from workers.toolbox import Toolbox
from workers.tools.tool import Call, Refusal, TurnCancelled, TurnScope

__all__ = ["Response"]

Spoken = TypeVar("Spoken", AgentMessageItem, ReasoningItem)

ABORTED = "aborted by user"
"""A call without an output would make the next request invalid."""


class Response:
    def __init__(
        self, session: Session, scope: TurnScope, toolbox: Toolbox, *, calls_wait: bool = False
    ) -> None:
        self._session = session
        self._calls_wait = calls_wait
        """Whether no call is carried out before `finish_calls`."""
        self._scope = scope
        self._toolbox = toolbox
        self._open: dict[str, AgentMessageItem | ReasoningItem | PlanItem] = {}
        self._plan = PlanSplitter() if session.plan_mode else None
        self._phases: dict[str, Any] = {}
        self._searches: dict[str, WebSearchItem] = {}
        self._calls: list[Call] = []
        self._asked: dict[str, float] = {}
        """When each was made."""
        self.begun = False
        """Whether the model has begun to answer."""
        self.carried_out = False
        """Whether one of its calls was more than refused."""
        self._answered = 0
        self._queue: asyncio.Queue[Call | None] = asyncio.Queue()
        self._runner: asyncio.Task[None] | None = None

    @property
    def calls_tools(self) -> bool:
        return bool(self._calls)

    async def begin_again(self) -> None:
        """The stream broke and is retried: items that were begun stay open, as with the peer; calls are finished.

        Raises:
            TurnCancelled: the user ended the turn in an approval.
        """
        await self.finish_calls()
        self._runner = None
        self._calls.clear()
        self._answered = 0
        self._open.clear()
        self._phases.clear()
        self._searches.clear()

    def take(self, event: events.ModelEvent) -> None:
        match event:
            case events.Created():
                self.begun = True
            case events.TextDelta():
                self._text(event.item_id, event.delta)
            case events.MessageStarted() if self._plan is not None:
                # All of it may be a plan: its item begins with its first word.
                self._phases[event.item_id] = _phase(event.phase)
            case events.MessageStarted():
                self._start(AgentMessageItem(id=event.item_id, text="", phase=_phase(event.phase)))
            case events.ReasoningStarted():
                self._start(ReasoningItem(id=event.item_id))
            case events.SearchStarted():
                self._search_started(event.item_id, event.action)
            case events.SummaryPartAdded() | events.SummaryDelta() | events.ReasoningDelta() if (
                event.item_id not in self._open
            ):
                pass  # of a thought that never began, or is over: clients know of none
            case events.SummaryPartAdded():
                part = SummaryPartAdded(**self._ids(event.item_id), summary_index=event.index)
                self._notify("item/reasoning/summaryPartAdded", part)
            case events.SummaryDelta():
                summary = SummaryTextDelta(
                    **self._ids(event.item_id), delta=event.delta, summary_index=event.index
                )
                self._notify("item/reasoning/summaryTextDelta", summary)
            case events.ReasoningDelta():
                thought = ReasoningTextDelta(
                    **self._ids(event.item_id), delta=event.delta, content_index=event.index
                )
                self._notify("item/reasoning/textDelta", thought)
            case events.ItemDone():
                self._done(event.item)
            case _:
                raise TypeError(f"the turn handles {type(event).__name__} itself")

    def _text(self, item_id: str, delta: str) -> None:
        if self._plan is None:
            self._notify("item/agentMessage/delta", ItemDelta(**self._ids(item_id), delta=delta))
            return
        for kind, part in self._plan.feed(delta):
            if kind == "text":
                self._start(AgentMessageItem(id=item_id, text="", phase=self._phases.get(item_id)))
                self._notify("item/agentMessage/delta", ItemDelta(**self._ids(item_id), delta=part))
            else:
                plan = self._plan_item()
                self._notify("item/plan/delta", ItemDelta(**self._ids(plan.id), delta=part))

    def _plan_item(self) -> PlanItem:
        """One plan a turn, as with the peer: its id is made of the turn's."""
        identity = f"{self._scope.turn_id}-plan"
        if identity not in self._open:
            self._start(PlanItem(id=identity, text=""))
        plan = self._open[identity]
        assert isinstance(plan, PlanItem)
        return plan

    def _notify(self, method: str, params: Any) -> None:
        self._session.notify(method, params)

    def _ids(self, item_id: str) -> dict[str, str]:
        return {"thread_id": self._session.id, "turn_id": self._scope.turn_id, "item_id": item_id}

    def _start(self, item: AgentMessageItem | ReasoningItem | PlanItem) -> None:
        if item.id not in self._open:
            self._open[item.id] = item
            self._session.item_started(self._scope.turn_id, item)

    def _ended(self, item: Spoken) -> Spoken:
        """The item that began under this id; this one, begun now, if there is none of its kind."""
        begun = self._open.pop(item.id, None)
        if isinstance(begun, type(item)):
            return begun
        self._session.item_started(self._scope.turn_id, item)
        return item

    def _done(self, item: dict[str, Any]) -> None:
        session, turn_id = self._session, self._scope.turn_id
        kind = item.get("type")
        identity = str(item.get("id") or "")
        if kind == "message" and item.get("role") == "assistant":
            text = "".join(part.get("text", "") for part in item.get("content", ()))
            if self._plan is not None:
                text = self._without_plan(text)
            if text or self._plan is None:
                message = self._ended(AgentMessageItem(id=identity, text="", phase=_phase(item.get("phase"))))
                message.text, message.phase = text, _phase(item.get("phase"))
                session.item_completed(turn_id, message)
            session.remember(item)
        elif kind == "reasoning":
            reasoning = self._ended(ReasoningItem(id=identity))
            reasoning.summary = [part.get("text", "") for part in item.get("summary") or ()]
            reasoning.content = [part.get("text", "") for part in item.get("content") or ()]
            session.item_completed(turn_id, reasoning)
            session.remember(item)
        elif kind in ("function_call", "custom_tool_call"):
            session.remember(item)
            self._call(item, custom=kind == "custom_tool_call")
        elif kind == "tool_search_call" and item.get("execution") == "client":
            session.remember(item)
            self._call(item, custom=False, search=item.get("arguments") or {})
        elif kind == "web_search_call":
            self._searched(identity, item.get("action"))
            session.remember(item)
        else:
            session.remember(item)

    def _without_plan(self, text: str) -> str:
        """A message has been said: its plan becomes an item, the rest is given back."""
        text, proposed = split_plan(text)
        if proposed:
            plan = self._plan_item()
            plan.text = proposed
            self._session.item_completed(self._scope.turn_id, plan)
            del self._open[plan.id]
        self._plan = PlanSplitter()
        return text

    def _search_started(self, identity: str, stored: Any) -> WebSearchItem:
        action = web_action_of(stored) or {"type": "other"}
        search = WebSearchItem(id=identity, query=query_of(action), action=action)
        self._searches[identity] = search
        self._session.item_started(self._scope.turn_id, search)
        return search

    def _searched(self, identity: str, stored: Any) -> None:
        search = self._searches.pop(identity, None) or self._search_started(identity, stored)
        search.action = web_action_of(stored) or {"type": "other"}
        search.query = query_of(search.action)
        self._session.item_completed(self._scope.turn_id, search)

    # --- tool calls -----------------------------------------------------------------------------------------

    def _call(self, item: dict[str, Any], *, custom: bool, search: Any = None) -> None:
        text = item.get("input" if custom else "arguments")
        call = Call(
            id=str(item.get("call_id") or item.get("id") or ""),
            name=str(item.get("name") or ""),
            arguments=text if isinstance(text, str) else "",
            custom=custom,
            namespace=item.get("namespace"),
            search=search,
        )
        self._calls.append(call)
        self._asked[call.id] = time.monotonic()
        self._queue.put_nowait(call)
        if not self._calls_wait:
            self._carry_out()

    def _carry_out(self) -> None:
        if self._runner is None:
            self._runner = asyncio.ensure_future(self._run_calls())

    async def _run_calls(self) -> None:
        """One after the other: the second command may need what the first one made."""
        while (call := await self._queue.get()) is not None:
            if call.search is not None:
                self._answer(call, self._toolbox.search(call.search))
                continue
            output = await self._toolbox.call(self._scope, call)
            if isinstance(output, Refusal):
                output = str(output)  # a subclass is not encoded
            else:
                self.carried_out = True
            self._answer(call, output)

    def _answer(self, call: Call, output: str | list[dict[str, Any]]) -> None:
        self._answered += 1
        if call.search is not None:
            self._session.remember(
                {
                    "type": "tool_search_output",
                    "call_id": call.id,
                    "status": "completed",
                    "execution": "client",
                    "tools": output if isinstance(output, list) else [],
                }
            )
            return
        kind = "custom_tool_call_output" if call.custom else "function_call_output"
        self._session.remember({"type": kind, "call_id": call.id, "output": output})

    async def finish_calls(self) -> None:
        """Wait until all calls are carried out.

        Raises:
            TurnCancelled: the user ended the turn in an approval.
        """
        if self._calls:
            self._carry_out()
        if self._runner is not None:
            self._queue.put_nowait(None)
            await self._runner

    async def abandon(self) -> None:
        """The turn or the response is over early: stop the calls, and answer those that have no answer."""
        runner = self._runner
        if runner is not None:
            runner.cancel()  # does nothing if it is done
            await asyncio.wait((runner,))
        for call in self._calls[self._answered :]:
            self._answer(call, _aborted(call, time.monotonic() - self._asked[call.id]))
        if runner is not None and not runner.cancelled():
            error = runner.exception()
            if error is not None and not isinstance(error, TurnCancelled):
                raise error


def _aborted(call: Call, seconds: float) -> str:
    if call.custom:
        return f"{ABORTED} after {max(seconds, 0.1):.1f}s"
    return f"Wall time: {seconds:.1f} seconds\n{ABORTED}"


def _phase(phase: Any) -> Any:
    return phase if phase in ("commentary", "partial_answer", "final_answer") else None
