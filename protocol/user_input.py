"""What a user sends: the parts of a message, as in `turn/start` and `turn/steer`."""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.base import UNSET, Absent, Wire

__all__ = [
    "AudioInput",
    "ByteRange",
    "ImageDetail",
    "ImageInput",
    "LocalAudioInput",
    "LocalImageInput",
    "MentionInput",
    "SkillInput",
    "TextElement",
    "TextInput",
    "UserInput",
]


class ByteRange(Wire, kw_only=True):
    start: int
    end: int


class TextElement(Wire, kw_only=True):
    """A span of the text, in UTF-8 bytes, that the client shows as a placeholder."""

    byte_range: ByteRange
    placeholder: str | None = None


class TextInput(msgspec.Struct, tag_field="type", tag="text", kw_only=True):
    text: str
    # snake_case on the wire, the only field that is
    text_elements: list[TextElement] = []


ImageDetail = Literal["auto", "low", "high", "original"]


class ImageInput(Wire, kw_only=True, tag_field="type", tag="image"):
    detail: ImageDetail | None = None
    url: str | Absent = UNSET
    file_id: str | Absent = UNSET


class LocalImageInput(Wire, kw_only=True, tag_field="type", tag="localImage"):
    detail: ImageDetail | None = None
    path: str


class AudioInput(Wire, kw_only=True, tag_field="type", tag="audio"):
    url: str | Absent = UNSET
    file_id: str | Absent = UNSET


class LocalAudioInput(Wire, kw_only=True, tag_field="type", tag="localAudio"):
    path: str


class SkillInput(Wire, kw_only=True, tag_field="type", tag="skill"):
    name: str
    path: str


class MentionInput(Wire, kw_only=True, tag_field="type", tag="mention"):
    name: str
    path: str


UserInput = (
    TextInput | ImageInput | LocalImageInput | AudioInput | LocalAudioInput | SkillInput | MentionInput
)
