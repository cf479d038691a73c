"""Lines of a recorded or live conversation, and what kind of message each is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

OUTPUT_DELTA = "item/commandExecution/outputDelta"


class Line(msgspec.Struct, frozen=True):
    """One line of a conversation. `direction` is c2s, s2c, meta or stderr; `raw` is the text of a line that was
    written or read as it stands; `message` is None where that is no JSON."""

    time: float
    direction: str
    message: Any = None
    raw: str | None = None


class Difference(msgspec.Struct, frozen=True):
    """`method` is the request's (for a response) or the notification's; `where` tells which occurrence."""

    where: str
    method: str
    path: str
    kind: str
    recorded: str
    live: str


def load_trace(path: Path) -> list[Line]:
    """The lines of a recording. Raises ValueError, naming the line, when the file is none."""
    lines = []
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            try:
                record = json.loads(text)
                line = Line(float(record["t"]), record["dir"], record.get("msg"), record.get("raw"))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}:{number}: not a line of a recording: {error!r}") from error
            if line.raw is not None and line.direction != "stderr":
                line = msgspec.structs.replace(line, message=parse(line.raw))
            lines.append(line)
    return lines


def parse(raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def method_of_request(message: Any) -> str | None:
    """The method of a client line that expects a response, else None."""
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        return None
    known = isinstance(message.get("id"), str | int) and not isinstance(message.get("id"), bool)
    return message["method"] if known else None


def message_key(message: dict[str, Any]) -> str:
    """What a message is, so far as order is concerned; equal keys are interchangeable."""
    if "method" not in message:
        return f"response {json.dumps(message.get('id'))}"
    params = message.get("params") or {}
    words = [message["method"]]
    for holder in ("item", "status"):
        value = params.get(holder) if isinstance(params, dict) else None
        if isinstance(value, dict):
            words.append(str(value.get("type", "")))
            # A call id is the model's, so it is the same in both runs, and tells overlapping calls apart.
            if str(value.get("id", "")).startswith("call_"):
                words.append(value["id"])
    return ("request " if "id" in message else "notification ") + " ".join(words)


def is_delta(message: dict[str, Any]) -> bool:
    method = message.get("method", "")
    return "id" not in message and isinstance(method, str) and method.lower().endswith("delta")


def delta_item(message: dict[str, Any]) -> tuple[str, str]:
    params = message.get("params") or {}
    return message["method"], str(params.get("itemId") or params.get("processId"))
