"""Hooks of a home, a server that trusts them, and what turns with hooks show."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

RUN = "!run echo hi\n!then\n!say done"

UNSAFE = {"sandbox": "danger-full-access", "approvalPolicy": "never"}


def says(**fields):
    return f"echo {shlex.quote(json.dumps(fields))}"


class Hooks:
    """Hooks of a home. `record(event)` notes what the hook got, and then does something."""

    def __init__(self, home: Path, notes: Path) -> None:
        self._file = home / "hooks.json"
        self._notes = notes
        self._hooks: dict[str, list] = {}

    def add(self, event, command, *, matcher=None, **fields):
        self.add_handler(event, {"type": "command", "command": command, **fields}, matcher=matcher)

    def add_handler(self, event, handler, *, matcher=None):
        group = {"hooks": [handler]}
        if matcher is not None:
            group["matcher"] = matcher
        self._hooks.setdefault(event, []).append(group)
        self._file.write_text(json.dumps({"hooks": self._hooks}))

    def record(self, event, then="true", **fields):
        # One write, as several may note at once.
        self.add(event, f"printf '%s\\n' \"$(cat)\" >> {self._notes}; {then}", **fields)

    def heard(self, event=None):
        if not self._notes.exists():
            return []
        said = [json.loads(line) for line in self._notes.read_text().splitlines() if line.strip()]
        return [one for one in said if event is None or one["hook_event_name"] == event]

    @staticmethod
    def trust(client):
        for hook in client.request("hooks/list", {})["data"][0]["hooks"]:
            state = {hook["key"]: {"trusted_hash": hook["currentHash"]}}
            edit = {"keyPath": "hooks.state", "value": state, "mergeStrategy": "upsert"}
            client.request("config/batchWrite", {"edits": [edit]})


@pytest.fixture
def hooks(home, tmp_path):
    return Hooks(home, tmp_path / "notes.jsonl")


@pytest.fixture
def trusting(server, hooks):
    """A server whose user trusts all hooks there are by now."""

    def start(*arguments):
        client = server(*arguments)
        hooks.trust(client)
        return client

    return start


def runs(lines):
    """The hook runs of a turn that ended: event, status and what they said."""
    return [
        (run["eventName"], run["status"], [(entry["kind"], entry["text"]) for entry in run["entries"]])
        for run in (line["params"]["run"] for line in lines if line["method"] == "hook/completed")
    ]


def items(lines):
    done = [line["params"]["item"] for line in lines if line["method"] == "item/completed"]
    return [item["type"] for item in done]


def asked(model):
    """What the model was asked last: roles and texts, and outputs of calls."""
    request = [one for one in model.requests() if one.path.endswith("/responses")][-1]
    said = []
    for item in request.body["input"]:
        if item["type"] == "message":
            said += [(item["role"], part["text"]) for part in item["content"]]
        elif item["type"].endswith("_output"):
            said.append(("output", item["output"]))
    return [one for one in said if not one[1].startswith(("<environment", "<permissions", "<skills"))]
