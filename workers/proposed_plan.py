"""Plans that a model proposes in plan mode: `<proposed_plan>` blocks in its text become items of their own.

A tag counts only when it stands alone on its line; the tag lines belong to neither text. Works on a stream cut
anywhere: what may still become a tag is held back until it is decided.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["PLAN_MODE", "PLAN_MODE_OVER", "PlanSplitter", "split_plan"]

OPEN, CLOSE = "<proposed_plan>", "</proposed_plan>"

PLAN_MODE = (
    "# Plan mode\n\nYou are in plan mode: explore, ask and think, but change nothing. Read files and run commands that "
    "only look. When you know enough, write the whole plan in a block of its own, the tags alone on their lines:\n\n"
    f"{OPEN}\n...\n{CLOSE}\n\nA plan says what will be changed where, in which order, and how it will be proven. "
    "Write no such block before the plan is complete; do not carry it out."
)

PLAN_MODE_OVER = "Plan mode is over: you may change things again."

Part = tuple[Literal["text", "plan"], str]


class PlanSplitter:
    """Feed it deltas; it gives back parts of the text and of the plan, in order."""

    def __init__(self) -> None:
        self._held = ""
        self._in_plan = False
        self._line_start = True

    def feed(self, delta: str) -> list[Part]:
        parts: list[Part] = []
        for piece in (self._held + delta).splitlines(keepends=True):
            self._held = ""
            if self._line_start:
                tag = CLOSE if self._in_plan else OPEN
                stripped = piece.strip()
                whole = piece.endswith("\n")
                if stripped == tag and whole:
                    self._in_plan = not self._in_plan
                    continue
                if not whole and tag.startswith(stripped):
                    self._held = piece
                    continue
            self._add(parts, piece)
            self._line_start = piece.endswith("\n")
        return parts

    def finish(self) -> list[Part]:
        """What was held back; a closing tag needs no newline at the end of the text."""
        parts: list[Part] = []
        held, self._held = self._held, ""
        if held and held.strip() != (CLOSE if self._in_plan else OPEN):
            self._add(parts, held)
        return parts

    def _add(self, parts: list[Part], text: str) -> None:
        kind: Literal["text", "plan"] = "plan" if self._in_plan else "text"
        if parts and parts[-1][0] == kind:
            parts[-1] = (kind, parts[-1][1] + text)
        else:
            parts.append((kind, text))


def split_plan(text: str) -> tuple[str, str]:
    """The text without its plans, and the plans."""
    splitter = PlanSplitter()
    parts = [*splitter.feed(text), *splitter.finish()]
    return "".join(t for kind, t in parts if kind == "text"), "".join(
        t for kind, t in parts if kind == "plan"
    )
