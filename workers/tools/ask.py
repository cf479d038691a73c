"""`request_user_input`: questions to the user, with answers to choose from. For plan mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.client_tools import (
    ToolRequestUserInputOption,
    ToolRequestUserInputParams,
    ToolRequestUserInputQuestion,
    ToolRequestUserInputResponse,
)
from workers.approvals import Unanswerable
from workers.tools.tool import Call, ToolRefused, TurnScope, arguments_of, function, record

__all__ = ["RequestUserInput"]


class Option(msgspec.Struct):
    label: str
    description: str = ""


class Question(msgspec.Struct, rename="camel"):
    id: str
    header: str
    question: str
    options: list[Option] = []
    is_secret: bool = False


class Questions(msgspec.Struct):
    questions: list[Question]


class RequestUserInput:
    name = "request_user_input"

    def definition(self) -> Mapping[str, Any]:
        text = {"type": "string"}
        option = record({"label": text, "description": text}, required=["label", "description"])
        question = record(
            {
                "id": {"type": "string", "description": "A name for the answer, in snake_case."},
                "header": {"type": "string", "description": "A heading of a word or two."},
                "question": text,
                "options": {
                    "type": "array",
                    "items": option,
                    "description": "Two or three answers that exclude each other, the recommended one first. "
                    "The user can always write one of his own.",
                },
            },
            required=["id", "header", "question", "options"],
        )
        return function(
            self.name,
            "Asks the user one to three short questions and waits for the answers. In plan mode only.",
            {"questions": {"type": "array", "items": question}},
            required=["questions"],
        )

    async def call(self, scope: TurnScope, call: Call) -> str:
        if not scope.session.plan_mode:
            raise ToolRefused("request_user_input is unavailable in Default mode")
        questions = arguments_of(call, Questions).questions
        if not all(question.options for question in questions):
            raise ToolRefused("request_user_input requires non-empty options for every question")
        params = ToolRequestUserInputParams(
            thread_id=scope.session.id,
            turn_id=scope.turn_id,
            item_id=call.id,
            questions=[_wire(question) for question in questions],
        )
        scope.approvals.waiting("waitingOnUserInput")
        try:
            answer = await scope.approvals.ask(
                "item/tool/requestUserInput", params, ToolRequestUserInputResponse
            )
        except Unanswerable:
            answer = ToolRequestUserInputResponse(answers={})
        scope.approvals.resume()
        return msgspec.json.encode({"answers": answer.answers}).decode()


def _wire(question: Question) -> ToolRequestUserInputQuestion:
    options = [ToolRequestUserInputOption(label=o.label, description=o.description) for o in question.options]
    return ToolRequestUserInputQuestion(
        id=question.id,
        header=question.header,
        question=question.question,
        is_other=True,
        is_secret=question.is_secret,
        options=options,
    )
