"""Patches as the worker sees them: parsing, fitting, and the changes as they stand on the wire.

Writing is done by `patch_main` in a process of its own, inside the sandbox.
"""

from __future__ import annotations

from protocol.file_changes import AddKind, DeleteKind, FileUpdateChange, PatchChangeKind, UpdateKind
from workers.tools.hunks import unified
from workers.tools.patch_apply import (
    Change,
    PatchApplyError,
    PatchVerifyError,
    Verified,
    apply,
    steps,
    verify,
)
from workers.tools.patch_grammar import Patch, PatchError, PatchSyntaxError, parse

__all__ = [
    "Patch",
    "PatchApplyError",
    "PatchError",
    "PatchSyntaxError",
    "PatchVerifyError",
    "Verified",
    "apply",
    "failure",
    "parse",
    "steps",
    "touched",
    "verify",
    "wire_changes",
]

WIRE_CONTEXT = 1
"""Lines of context in the diff of an updated file, as the peer has them."""


def wire_changes(verified: Verified) -> list[FileUpdateChange]:
    """The `changes` of a fileChange item, sorted by path."""
    return [_wire_change(change) for change in sorted(verified.changes, key=lambda change: change.path)]


def _wire_change(change: Change) -> FileUpdateChange:
    kind: PatchChangeKind
    if change.kind == "add":
        kind, diff = AddKind(), _text(change.new)
    elif change.kind == "delete":
        kind, diff = DeleteKind(), _text(change.old)
    else:
        kind = UpdateKind(move_path=change.move_path)
        diff = unified(_text(change.old), _text(change.new), WIRE_CONTEXT)
        if change.move_path is not None:
            diff += f"\n\nMoved to: {change.move_path}"
    return FileUpdateChange(path=change.path, kind=kind, diff=diff)


def _text(data: bytes | None) -> str:
    # only a deleted file can be something else than UTF-8
    return (data or b"").decode(errors="replace")


def touched(verified: Verified) -> list[str]:
    """The absolute paths the patch writes or removes, for approval and for the sandbox. Sorted."""
    paths = {change.path for change in verified.changes}
    return sorted(paths | {change.move_path for change in verified.changes if change.move_path is not None})


def failure(error: PatchError) -> str:
    """The text the model gets for a patch that was not tried."""
    text = str(error)
    return text if text.startswith("patch rejected") else f"apply_patch verification failed: {text}"
