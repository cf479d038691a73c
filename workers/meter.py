"""What a turn costs: token usage and rate limits, told once a response, and the diff of the turn with them."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.notifications import RateLimitsUpdated, TokenUsage, TurnDiffUpdated
from rollouts.entries import token_count
from rollouts.lines import TokenInfo
from rollouts.lines import TokenUsage as StoredUsage
from workers.models import events
from workers.session import Session
from workers.thread_view import tell_usage
from workers.tools.turn_diff import TurnDiff

__all__ = ["Meter", "wire_usage"]


def wire_usage(usage: events.TokenUsage) -> TokenUsage:
    """The model's count in wire form."""
    return TokenUsage(
        total_tokens=usage.total,
        input_tokens=usage.input,
        cached_input_tokens=usage.cached_input,
        cache_write_input_tokens=usage.cache_write_input,
        output_tokens=usage.output,
        reasoning_output_tokens=usage.reasoning_output,
    )


BYTES_PER_TOKEN = 4
"""For estimates; what counts is what the model says."""


class Meter:
    """The counts of one turn. A response is counted when it ends and told when its calls are done."""

    def __init__(self, session: Session, turn_id: str, diff: TurnDiff) -> None:
        self._session = session
        self._turn_id = turn_id
        self._diff = diff
        self._uncounted: TokenUsage | None = None

    @property
    def waiting(self) -> bool:
        """Whether a response has ended and was not told yet."""
        return self._uncounted is not None

    def count(self, event: events.Completed) -> None:
        if event.usage is not None:
            self._uncounted = wire_usage(event.usage)
        self._session.pursuit.costs.response_ended(self._uncounted)

    def tell_usage(self, usage: TokenUsage | None = None, *, force: bool = False) -> None:
        """Once a response, when its calls are done: usage, limits, and the turn's diff."""
        session = self._session
        usage = usage or self._uncounted
        self._uncounted = None
        if usage is not None:
            session.last_usage = usage
            session.usage = session.usage + usage
            info = TokenInfo(
                total_token_usage=_stored(session.usage),
                last_token_usage=_stored(session.last_usage),
                model_context_window=session.settings.model_info.usable_window,
            )
            session.store([token_count(info, _snake(session.rate_limits))])
        if usage is not None or force:
            self._tell_tokens()
        self._say_limits()
        self.tell_diff()

    def tell_full(self) -> None:
        """The model's window is full, as it said itself."""
        session = self._session
        window = session.settings.model_info.usable_window or 0
        session.last_usage = TokenUsage(total_tokens=window)
        session.usage = msgspec.structs.replace(
            session.usage, total_tokens=max(session.usage.total_tokens, window)
        )
        self.tell_usage(force=True)

    def tell_estimate(self) -> None:
        """After a compaction: about what the next request will take."""
        session = self._session
        session.last_usage = TokenUsage(total_tokens=sum(map(len, session.history)) // BYTES_PER_TOKEN)
        self.tell_usage(force=True)

    def tell_diff(self) -> None:
        session = self._session
        diff = self._diff.render()
        if diff:
            session.notify(
                "turn/diff/updated", TurnDiffUpdated(thread_id=session.id, turn_id=self._turn_id, diff=diff)
            )

    def tell_limits(self) -> None:
        """Of a response without usage: one that failed, was dropped, or whose server does not count."""
        if self._session.usage.total_tokens:
            self._tell_tokens()
        self._say_limits()

    def _tell_tokens(self) -> None:
        tell_usage(self._session, self._turn_id)

    def _say_limits(self) -> None:
        self._session.notify(
            "account/rateLimits/updated", RateLimitsUpdated(rate_limits=self._session.rate_limits)
        )


def _stored(usage: TokenUsage) -> StoredUsage:
    return StoredUsage(**msgspec.structs.asdict(usage))


_SNAKE = {
    "limitId": "limit_id",
    "limitName": "limit_name",
    "individualLimit": "individual_limit",
    "spendControlReached": "spend_control_reached",
    "planType": "plan_type",
    "rateLimitReachedType": "rate_limit_reached_type",
}


def _snake(limits: dict[str, Any]) -> dict[str, Any]:
    return {_SNAKE.get(key, key): value for key, value in limits.items() if key != "normalModelSlug"}
