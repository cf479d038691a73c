"""The hooks around each time that the model is asked, retries of a broken stream included. They look on, no more.

As with Codex 0.169 each `PreModelRequest` is followed by one `PostModelRequest`, which tells how it went; summing up a
history is no such request.
"""

from __future__ import annotations

from typing import Any, Literal

from workers.hooks.of_turn import TurnHooks
from workers.models.events import TokenUsage

__all__ = ["RequestHooks"]


class RequestHooks:
    """Of one turn. At most one request is under way."""

    def __init__(self, hooks: TurnHooks) -> None:
        self._hooks = hooks
        self._under_way = False
        self._usage: TokenUsage | None = None

    @property
    def wait_for_answers(self) -> bool:
        """Whether there are some that hear of an answer, which they do before its tools run."""
        return self._hooks.any_at("postModelRequest")

    async def begin(self) -> None:
        """The model is about to be asked."""
        if self._hooks.any:
            await self._hooks.run_at("PreModelRequest", "preModelRequest", {})
            self._under_way, self._usage = True, None

    def count(self, usage: TokenUsage | None) -> None:
        """The model has said what its answer took."""
        self._usage = usage

    async def end(self, error: str | None = None) -> None:
        """The answer is whole, or there is none for the reason `error`."""
        if self._under_way:
            self._under_way = False
            told = self._told("completed" if error is None else "failed", error)
            await self._hooks.run_at("PostModelRequest", "postModelRequest", told)

    def drop(self) -> None:
        """Nobody waits for the answer any more, nor for the hooks: the turn may be over before they are."""
        if self._under_way:
            self._under_way = False
            told = self._told("cancelled", None)
            self._hooks.run_detached("PostModelRequest", "postModelRequest", told)

    def _told(self, status: Literal["completed", "failed", "cancelled"], error: str | None) -> dict[str, Any]:
        used = self._usage
        tokens = None if used is None else {
            "input_tokens": used.input,
            "cached_input_tokens": used.cached_input,
            "cache_write_input_tokens": used.cache_write_input,
            "output_tokens": used.output,
            "reasoning_output_tokens": used.reasoning_output,
            "total_tokens": used.total,
        }  # fmt: skip
        return {"status": status, "error": error, "token_usage": tokens}
