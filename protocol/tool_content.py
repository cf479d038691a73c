"""What a client's tool answers: its parts, for the model and for clients."""

from __future__ import annotations

from protocol.base import Wire

__all__ = [
    "InputAudioContent",
    "InputImageContent",
    "InputTextContent",
    "ToolContent",
]


class InputTextContent(Wire, kw_only=True, tag_field="type", tag="inputText"):
    text: str


class InputImageContent(Wire, kw_only=True, tag_field="type", tag="inputImage"):
    image_url: str


class InputAudioContent(Wire, kw_only=True, tag_field="type", tag="inputAudio"):
    audio_url: str


ToolContent = InputTextContent | InputImageContent | InputAudioContent
