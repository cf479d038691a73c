"""User input with pictures and mentions, in the form that a model takes."""

from __future__ import annotations

import os
from typing import Any

from protocol.items import (
    ImageInput,
    LocalImageInput,
    MentionInput,
    SkillInput,
    TextInput,
    UserInput,
)
from workers.instructions import message
from workers.tools.image import ImageError, data_url

__all__ = ["message_of"]


def message_of(items: list[UserInput], cwd: str) -> dict[str, object]:
    """The user's input as the model gets it. Skills are told apart: see `workers.skills`."""
    texts = [item.text for item in items if isinstance(item, TextInput)]
    if len(texts) == len(items):
        return message("user", *texts)
    return _mixed(items, cwd)


def _mixed(items: list[UserInput], cwd: str) -> dict[str, object]:
    """One user message. A local picture that cannot be read is told as such: the user's text goes on."""
    content: list[dict[str, Any]] = []
    pictures = 0
    for item in items:
        match item:
            case TextInput():
                content.append(_text(item.text))
            case ImageInput() if isinstance(item.url, str):
                pictures += 1
                content.append(
                    {"type": "input_image", "image_url": item.url, "detail": item.detail or "auto"}
                )
            case ImageInput() if isinstance(item.file_id, str):
                pictures += 1
                content.append(
                    {"type": "input_image", "file_id": item.file_id, "detail": item.detail or "auto"}
                )
            case LocalImageInput():
                pictures += 1
                content.extend(_local_picture(item, cwd, pictures))
            case SkillInput():
                pass  # its text is a message of its own
            case MentionInput():
                content.append(_text(f"[{item.name}]({item.path})"))
            case _:
                content.append(_text("(input of a kind that this model does not take was left out)"))
    return {"type": "message", "role": "user", "content": content}


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _local_picture(item: LocalImageInput, cwd: str, number: int) -> list[dict[str, Any]]:
    path = os.path.normpath(os.path.join(cwd, item.path))
    try:
        url = data_url(path)
    except ImageError as error:
        return [_text(f"(the picture {path} could not be read: {error})")]
    return [
        _text(f'<image name=[Image #{number}] path="{path}">'),
        {"type": "input_image", "image_url": url, "detail": item.detail or "original"},
        _text("</image>"),
    ]
