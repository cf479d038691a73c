"""What hooks answer, read as Codex 0.169 reads it: statuses and words are those that it showed."""

from __future__ import annotations

import json

import pytest

from workers.hooks.outcome import read_outcome
from workers.hooks.program import Ran


def before(**fields):
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **fields}}


def decided(**decision):
    return {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}


STOP = {"continue": False, "stopReason": "enough"}
JSON_CASES = [
    ("preToolUse", before(permissionDecision="deny", permissionDecisionReason="no"), "blocked", ["no"]),
    ("preToolUse", {"decision": "block", "reason": "no"}, "blocked", ["no"]),
    ("preToolUse", {"systemMessage": "S", "decision": "block", "reason": "no"}, "blocked", ["S", "no"]),
    ("preToolUse", before(additionalContext="C"), "completed", ["C"]),
    ("preToolUse", before(updatedInput={"command": "x"}, permissionDecision="allow"), "completed", []),
    ("postToolUse", {"decision": "block", "reason": "no"}, "blocked", ["no"]),
    ("postToolUse", STOP, "stopped", ["enough"]),
    ("postToolUse", {"continue": False}, "stopped", ["PostToolUse hook stopped execution"]),
    ("permissionRequest", decided(behavior="allow"), "completed", []),
    ("permissionRequest", decided(behavior="deny", message="no"), "blocked", ["no"]),
    ("permissionRequest", decided(behavior="deny"), "blocked", ["PermissionRequest hook denied approval"]),
    ("userPromptSubmit", {"decision": "block", "reason": "no"}, "blocked", ["no"]),
    ("userPromptSubmit", {"continue": False}, "stopped", []),
    ("sessionStart", STOP, "stopped", ["enough"]),
    ("stop", {"decision": "block", "reason": "go on"}, "blocked", ["go on"]),
    ("stop", {**STOP, "systemMessage": "S"}, "stopped", ["S", "enough"]),
    ("preCompact", STOP, "stopped", ["enough"]),
]
REFUSED_CASES = [
    (
        "preToolUse",
        before(permissionDecision="ask"),
        "PreToolUse hook returned unsupported permissionDecision:ask",
    ),
    (
        "preToolUse",
        before(permissionDecision="allow"),
        "PreToolUse hook returned unsupported permissionDecision:allow",
    ),
    (
        "preToolUse",
        before(updatedInput={}),
        "PreToolUse hook returned updatedInput without permissionDecision:allow",
    ),
    ("preToolUse", STOP, "PreToolUse hook returned unsupported continue:false"),
    ("preToolUse", {"unknown": 1}, "hook returned invalid pre-tool-use JSON output"),
    (
        "permissionRequest",
        decided(behavior="allow", interrupt=True),
        "PermissionRequest hook returned unsupported interrupt:true",
    ),
    (
        "userPromptSubmit",
        {"decision": "block"},
        "UserPromptSubmit hook returned decision:block without a non-empty reason",
    ),
    ("userPromptSubmit", {"x": 1}, "hook returned invalid user prompt submit JSON output"),
    ("stop", {"decision": "block"}, "Stop hook returned decision:block without a non-empty reason"),
    (
        "stop",
        {"hookSpecificOutput": {"hookEventName": "Stop"}},
        "hook returned invalid stop hook JSON output",
    ),
]
PLAIN_CASES = [
    ("preToolUse", Ran(0, "plain"), "completed", []),
    ("preToolUse", Ran(2, "", "no way\n"), "blocked", ["no way"]),
    (
        "preToolUse",
        Ran(2),
        "failed",
        ["PreToolUse hook exited with code 2 but did not write a blocking reason to stderr"],
    ),
    ("preToolUse", Ran(1, "x", "bad"), "failed", ["hook exited with code 1"]),
    ("preToolUse", Ran(None), "failed", ["hook exited without a status code"]),
    ("preToolUse", Ran(None, fault="hook timed out after 1s"), "failed", ["hook timed out after 1s"]),
    ("userPromptSubmit", Ran(0, "plain\nmore\n"), "completed", ["plain\nmore"]),
    ("sessionStart", Ran(0, "plain"), "completed", ["plain"]),
    ("sessionStart", Ran(2, "", "no"), "failed", ["hook exited with code 2"]),
    ("stop", Ran(0, "plain"), "failed", ["hook returned invalid stop hook JSON output"]),
    ("preCompact", Ran(2, "", "no"), "failed", ["no"]),
    ("preCompact", Ran(0, "plain"), "completed", []),
]


def told(outcome):
    return [entry.text for entry in outcome.entries]


@pytest.mark.parametrize(("event", "answer", "status", "entries"), JSON_CASES)
def test_json_says_what_becomes_of_it(event, answer, status, entries):
    outcome = read_outcome(event, Ran(0, json.dumps(answer)))
    assert (outcome.status, told(outcome)) == (status, entries)


@pytest.mark.parametrize(("event", "answer", "error"), REFUSED_CASES)
def test_json_that_asks_for_what_is_not_there_counts_for_nothing(event, answer, error):
    outcome = read_outcome(event, Ran(0, json.dumps(answer)))
    assert (outcome.status, told(outcome)) == ("failed", [error])
    assert (outcome.block, outcome.stop, outcome.context, outcome.updated_input) == (None,) * 4
    assert not outcome.allowed


@pytest.mark.parametrize(("event", "ran", "status", "entries"), PLAIN_CASES)
def test_exit_codes_and_text_say_the_rest(event, ran, status, entries):
    outcome = read_outcome(event, ran)
    assert (outcome.status, told(outcome)) == (status, entries)
