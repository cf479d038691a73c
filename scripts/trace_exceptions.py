"""What `trace_exceptions.toml` says: surroundings of a recording, intended differences, methods not served."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from trace_line import Difference, Line, method_of_request


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the recordings matching `trace` were made with.

    `top` is TOML put before the table of the mock provider in config.toml, `config` TOML put at that table's end;
    `files` maps a path in the user's home to text (`base64:` before binary content); `copies` maps such a path to a
    file beside the recordings' folder, whose paths become live ones; `git` makes the project a repository with one
    commit; `env` adds to the environment; `leaves` are absolute paths that the commands
    of the recording create and which are removed. `after` names the recordings whose home this one continues.
    `values` maps whole strings of the recorded client to what is sent in their place: what was taken out of the
    recording. `keyring` runs a Secret Service; without one the recording is skipped. `issuer` runs the issuer and backend that it was recorded with (`authmock.py` beside `mock.py`); its address is
    {issuer} in `top`, `config` and `env`. `skip` is a reason not to replay it at all. In `top` and `config`, {python}, {home} and {recordings} stand for
    this interpreter, the user's home and the folder of the recording.
    """

    trace: str
    model: str = ""
    provider: str = ""
    top: str = ""
    config: str = ""
    files: dict[str, str] = {}
    copies: dict[str, str] = {}
    git: bool = False
    env: dict[str, str] = {}
    leaves: list[str] = []
    after: list[str] = []
    values: dict[str, str] = {}
    keyring: bool = False
    issuer: bool = False
    skip: str = ""


class Unserved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request that is not sent: neither its response nor `notifications` up to the next client line are expected.

    `containing` narrows it to the requests with that text in them.
    """

    method: str
    reason: str
    trace: str = "*"
    containing: str = ""
    notifications: list[str] = []


class Unsaid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Notifications that the server under test never sends: they are taken out of the recording."""

    method: str
    reason: str
    trace: str = "*"


class Intended(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Differences that are meant; every pattern may hold `*`. `sometimes`: need not occur in every run."""

    reason: str
    trace: str = "*"
    method: str = "*"
    path: str = "*"
    kind: str = "*"
    sometimes: bool = False


class Exceptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    setup: list[Setup] = []
    unserved: list[Unserved] = []
    unsaid: list[Unsaid] = []
    difference: list[Intended] = []


def load_exceptions(path: Path) -> Exceptions:
    """Raises msgspec.ValidationError for unknown or ill-typed entries, ValueError for one without a reason."""
    found = msgspec.toml.decode(path.read_bytes(), type=Exceptions)
    entries: list[Unserved | Unsaid | Intended] = [*found.unserved, *found.unsaid, *found.difference]
    for entry in entries:
        if not entry.reason.strip():
            raise ValueError(f"{path}: an exception needs a reason: {entry}")
    return found


def matches(pattern: str, text: str) -> bool:
    """Like fnmatch, but `[]` stands for itself: paths are full of it."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text) is not None


def excuse(intended: Intended, trace: str, difference: Difference) -> bool:
    return (
        matches(intended.trace, trace)
        and matches(intended.method, difference.method)
        and matches(intended.path, difference.path)
        and matches(intended.kind, difference.kind)
    )


def without_unserved(lines: Sequence[Line], unserved: Sequence[Unserved]) -> list[Line]:
    """The recording as it would be had the client never sent the requests of `unserved`."""
    kept: list[Line] = []
    dropped_ids: list[object] = []
    muted: list[str] = []
    for line in lines:
        message = line.message
        if line.direction == "c2s":
            method = method_of_request(message)
            text = json.dumps(message)
            entry = next((e for e in unserved if e.method == method and e.containing in text), None)
            muted = entry.notifications if entry else []
            if entry:
                dropped_ids.append(message["id"])
                continue
        elif line.direction == "s2c" and isinstance(message, dict):
            if "method" not in message and message.get("id") in dropped_ids:
                dropped_ids.remove(message["id"])
                continue
            if "id" not in message and message.get("method") in muted:
                continue
        kept.append(line)
    return kept


def without_unsaid(lines: Sequence[Line], unsaid: Sequence[Unsaid]) -> list[Line]:
    """The recording without the notifications of `unsaid`."""

    def kept(line: Line) -> bool:
        message = line.message
        if line.direction != "s2c" or not isinstance(message, dict) or "id" in message:
            return True
        return not any(matches(entry.method, str(message.get("method"))) for entry in unsaid)

    return [line for line in lines if kept(line)]
