"""A reviewer: a second conversation in a thread, with a history of its own that is not stored."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from protocol.base import Wire
from protocol.items import AgentMessageItem, ThreadItem
from rollouts.reviews import review_output, review_text
from workers.briefing import Briefing
from workers.session import Session

__all__ = ["Reviewer", "findings_text"]

REVIEWER = (
    "You review changes that another engineer made to a code base. Look at the diff you are pointed to and at the code "
    "around it; run commands that only read. Report what its author would want to fix: bugs, broken promises, security "
    "holes, lost data, races, slowness that matters, in code this change adds or breaks. Report nothing that was so "
    "before, nothing about taste, and nothing you cannot point at. Every finding says what goes wrong, when, and how "
    "bad it is, in one paragraph. Titles begin with the priority: [P0] stops a release, [P1] urgent, [P2] to be fixed, "
    "[P3] nice to have. Do not change anything.\n\n"
    "Answer with JSON alone, without a fence: "
    '{"findings": [{"title": "[P1] ...", "body": "...", "confidence_score": 0.0, "priority": 1, "code_location": '
    '{"absolute_file_path": "/...", "line_range": {"start": 1, "end": 1}}}], "overall_correctness": "patch is correct" '
    'or "patch is incorrect", "overall_explanation": "...", "overall_confidence_score": 0.0}'
)

SILENT = frozenset({"thread/tokenUsage/updated", "account/rateLimits/updated", "item/agentMessage/delta"})
WITHOUT = frozenset(
    {"web_search", "request_user_input", "get_goal", "create_goal", "update_goal", "update_plan"}
)
"""Tools of the conversation with the user, and those that reach out of the folder."""

_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class Reviewer(Session):
    """Shares all of a session but its history; of what it says, clients see its commands and that it speaks."""

    @classmethod
    def of(cls, session: Session) -> Reviewer:
        reviewer = cls.__new__(cls)
        vars(reviewer).update(vars(session))
        settings = session.settings
        reviewer.settings = msgspec.structs.replace(
            settings,
            base_instructions=REVIEWER,
            # Nobody is at hand for a reviewer's questions.
            approval_policy="never",
            tools=tuple(name for name in settings.tools if name not in WITHOUT),
        )
        reviewer.history = []
        reviewer.briefing = Briefing(reviewer)
        reviewer.turns = []
        reviewer.plan_mode = False
        reviewer.mode_instructions = None
        reviewer.dynamic_tools = ()
        reviewer.needs_compaction = False
        return reviewer

    def notify(self, method: str, params: Wire) -> None:
        if method not in SILENT:
            super().notify(method, params)

    def store(self, entries: Any) -> None:
        """The thread keeps the findings, not the way to them."""

    def item_completed(self, turn_id: str, item: ThreadItem, *, stored: bool = True) -> None:
        if isinstance(item, AgentMessageItem):
            # What it says last is told with the review; its items stay open, as with the peer.
            self.last_message = item.text
        else:
            super().item_completed(turn_id, item, stored=stored)

    last_message = ""


def findings_text(answer: str) -> str:
    """The reviewer's answer as text for the user: its JSON rendered, or what it said in its own way."""
    for candidate in (answer, *_OBJECT.findall(answer)):
        try:
            output = msgspec.json.decode(candidate)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(output, dict) and {"findings", "overall_explanation"} & output.keys():
            return review_text(output)
    return review_text(review_output(answer))
