"""`view_image`: lets the model see a picture of the workspace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.items import ImageViewItem
from workers.tools.image import ImageError, data_url
from workers.tools.tool import Call, ToolRefused, TurnScope, arguments_of, function

__all__ = ["ViewImage"]


class ImageArguments(msgspec.Struct):
    path: str


class ViewImage:
    name = "view_image"

    def definition(self) -> Mapping[str, Any]:
        return function(
            self.name,
            "Shows you a picture from a file.",
            {"path": {"type": "string", "description": "The file, relative to the cwd."}},
            required=["path"],
        )

    async def call(self, scope: TurnScope, call: Call) -> list[dict[str, Any]]:
        arguments = arguments_of(call, ImageArguments)
        path = os.path.normpath(os.path.join(scope.session.settings.cwd, arguments.path))
        try:
            url = data_url(path)
        except ImageError as error:
            raise ToolRefused(str(error)) from None
        item = ImageViewItem(id=call.id, path=path)
        scope.session.item_started(scope.turn_id, item)
        scope.session.item_completed(scope.turn_id, item)
        picture = {"type": "input_image", "image_url": url}
        detail = scope.session.settings.model_info.image_detail
        return [picture | {"detail": detail} if detail else picture]
