"""What a patch changes, file by file."""

from __future__ import annotations

import msgspec

from protocol.base import Wire

__all__ = [
    "AddKind",
    "DeleteKind",
    "FileUpdateChange",
    "PatchChangeKind",
    "UpdateKind",
]


class AddKind(Wire, kw_only=True, tag_field="type", tag="add"):
    pass


class DeleteKind(Wire, kw_only=True, tag_field="type", tag="delete"):
    pass


class UpdateKind(msgspec.Struct, kw_only=True, tag_field="type", tag="update"):
    # snake_case on the wire
    move_path: str | None = None


PatchChangeKind = AddKind | DeleteKind | UpdateKind


class FileUpdateChange(Wire, kw_only=True):
    """One file of a patch. `diff`: the whole text of an added or deleted file, else unified hunks."""

    path: str
    kind: PatchChangeKind
    diff: str
