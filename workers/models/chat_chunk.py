"""One chunk of a Chat Completions stream, as loosely as the servers of it need."""

from __future__ import annotations

from typing import Any

import msgspec

from workers.models.events import TokenUsage

__all__ = ["CHUNK", "CallDelta", "Chunk", "Delta", "Usage", "text_of"]


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _CompletionDetails | None = None
    total_tokens: int | None = None

    def counted(self) -> TokenUsage:
        read, wrote = self.prompt_tokens or 0, self.completion_tokens or 0
        cached, thought = self.prompt_tokens_details, self.completion_tokens_details
        return TokenUsage(
            input=read,
            cached_input=(cached.cached_tokens or 0) if cached else 0,
            output=wrote,
            reasoning_output=(thought.reasoning_tokens or 0) if thought else 0,
            total=read + wrote if self.total_tokens is None else self.total_tokens,
        )


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | int | None = None
    function: Function | None = None


class Delta(msgspec.Struct):
    content: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    id: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Any = None


def text_of(content: Any) -> str:
    """Get the text of a delta, which some servers send in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


CHUNK = msgspec.json.Decoder(Chunk)
