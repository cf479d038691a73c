"""Patches made of lines, and what they do to a folder."""

from __future__ import annotations

from pathlib import Path

from workers.tools import patch as door


def text_of(*lines: str) -> str:
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch"]) + "\n"


def run(folder: Path, *lines: str) -> str:
    return door.apply(door.verify(door.parse(text_of(*lines)), str(folder)))
