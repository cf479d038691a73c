"""Patches that a model writes as a shell command, `apply_patch <<EOF`, as it was taught for models without the tool."""

from __future__ import annotations

import os
import re
import shlex
from typing import NamedTuple

__all__ = ["ScriptedPatch", "patch_in_script"]

_SCRIPT = re.compile(
    r"\s*(?:cd\s+(?P<folder>[^\n&;|]+?)\s*&&\s*)?apply_?patch\s+<<\s*(?P<quote>['\"]?)(?P<word>\w+)(?P=quote)\s*\n"
    r"(?P<text>.*\n)(?P=word)\s*",
    re.DOTALL,
)


class ScriptedPatch(NamedTuple):
    """`cwd`: absolute, what the patch's paths are meant from."""

    text: str
    cwd: str


def patch_in_script(script: str, cwd: str) -> ScriptedPatch | None:
    """The patch, if the script does nothing else than to apply one, from another folder perhaps."""
    found = _SCRIPT.fullmatch(script)
    if found is None:
        return None
    if (folder := found["folder"]) is not None:
        try:
            words = shlex.split(folder)
        except ValueError:
            return None
        if len(words) != 1:
            return None
        cwd = os.path.normpath(os.path.join(cwd, words[0]))
    return ScriptedPatch(found["text"], cwd)
