"""A hook's hash is Codex 0.169's: the two programs share the file that says what is trusted."""

from __future__ import annotations

import json

import pytest

from config.document import load_document
from config.hooks import hooks_of

COMMAND = {"type": "command", "command": "a"}
SEEN = [
    ("Stop", None, COMMAND, "c75a850480544f28"),
    ("Stop", "x", {**COMMAND, "command": "stop"}, "b0dc17dc7fa7114f"),
    ("UserPromptSubmit", "(", {**COMMAND, "command": "stop"}, "8f5172ad3c84ea7e"),
    ("PreToolUse", "Bash", COMMAND, "feea2caddf1c2dce"),
    ("PreToolUse", "Bash", {**COMMAND, "timeout": 5, "statusMessage": "sm"}, "492cf2cdec3d614b"),
    (
        "PreToolUse",
        None,
        {**COMMAND, "command": "b", "commandWindows": "c", "additionalContextLimit": 5},
        "dace01e7e3d74c2b",
    ),
    ("PreToolUse", None, {**COMMAND, "command": "sleep 1; echo ok", "async": True}, "caf68c6702c90aba"),
    ("SessionStart", "startup", {**COMMAND, "command": "stop", "timeout": 0}, "c43fd6b927d7c686"),
    ("Interrupt", None, COMMAND, "be43c564c0898f79"),
]
"""What Codex 0.169 said of these: the beginnings of its hashes."""


@pytest.mark.parametrize(("event", "matcher", "handler", "seen"), SEEN)
def test_a_hook_has_the_hash_that_the_peer_gave_it(tmp_path, event, matcher, handler, seen):
    group = {"hooks": [handler]} if matcher is None else {"matcher": matcher, "hooks": [handler]}
    (tmp_path / "hooks.json").write_text(json.dumps({"hooks": {event: [group]}}))
    hooks = hooks_of(load_document(str(tmp_path), system=str(tmp_path / "none")), str(tmp_path))
    assert hooks.warnings == ()
    [hook] = hooks.found
    assert hook.hash.startswith(f"sha256:{seen}")
    assert hooks.running == ()
