"""User input with pictures and mentions, in the form that a model takes."""

from __future__ import annotations

import os
from typing import Any

from config.models import ModelInfo
from protocol.user_input import ImageInput, LocalImageInput, MentionInput, SkillInput, TextInput, UserInput
from workers.instructions import message
from workers.tools.image import ImageError, UnreadableImage, check_data_url, data_url

__all__ = ["message_of"]

TAKEN = ("auto", "low", "high")
"""How closely a picture may be looked at, by models that leave that to who asks."""


def message_of(items: list[UserInput], cwd: str, info: ModelInfo) -> dict[str, object]:
    """The user's input as the model gets it. Skills are told apart: see `workers.skills`.

    A mention is for clients to show: the user's text names what is mentioned.
    """
    texts = [item.text for item in items if isinstance(item, TextInput)]
    if len(texts) == len(items):
        return message("user", *texts)
    return _mixed(items, cwd, info)


def _mixed(items: list[UserInput], cwd: str, info: ModelInfo) -> dict[str, object]:
    """One user message. A local picture that cannot be read is told as such: the user's text goes on."""
    content: list[dict[str, Any]] = []
    pictures = 0
    for item in items:
        match item:
            case TextInput():
                content.append(_text(item.text))
            case ImageInput() if isinstance(item.url, str):
                pictures += 1
                content.append(_inline_picture(item, item.url, info))
            case ImageInput() if isinstance(item.file_id, str):
                pictures += 1
                content.append(_picture(item.detail, info, file_id=item.file_id))
            case LocalImageInput():
                pictures += 1
                content.extend(_local_picture(item, cwd, pictures, info))
            case SkillInput() | MentionInput():
                pass
            case _:
                content.append(_text("(input of a kind that this model does not take was left out)"))
    return {"type": "message", "role": "user", "content": content or [_text("")]}


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _picture(asked: str | None, info: ModelInfo, **where: str) -> dict[str, Any]:
    """`detail` is what the model knows, not what the client asked for, unless it takes every kind."""
    picture: dict[str, Any] = {"type": "input_image", **where}
    if info.image_detail is not None:
        picture["detail"] = asked if info.image_detail == "high" and asked in TAKEN else info.image_detail
    return picture


def _inline_picture(item: ImageInput, url: str, info: ModelInfo) -> dict[str, Any]:
    try:
        check_data_url(url)
    except ImageError as error:
        return _text(f"this picture was left out: {error}")
    return _picture(item.detail, info, image_url=url)


def _local_picture(item: LocalImageInput, cwd: str, number: int, info: ModelInfo) -> list[dict[str, Any]]:
    path = os.path.normpath(os.path.join(cwd, item.path))
    picture: dict[str, Any]
    try:
        picture = _picture(item.detail, info, image_url=data_url(path))
    except UnreadableImage as error:
        return [_text(f"The picture at `{path}` could not be read: {error.cause}")]
    except ImageError as error:
        picture = _text(f"this picture was left out: {error}")
    return [_text(f'<image name=[Image #{number}] path="{item.path}">'), picture, _text("</image>")]
