from __future__ import annotations

import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import items as wire
from protocol.command_actions import ListFilesAction, ReadAction, SearchAction, UnknownAction
from protocol.file_changes import AddKind, DeleteKind, FileUpdateChange, UpdateKind
from protocol.policy import DangerFullAccess, ExternalSandbox, ReadOnly, WorkspaceWrite
from protocol.turns import TurnError
from protocol.user_input import ByteRange, ImageInput, LocalImageInput, TextElement, TextInput
from rollouts.items import item_of
from rollouts.legacy import events_of, item_of_event
from rollouts.lines import Entry, decode_line, encode_line, renumber, timestamp
from rollouts.policy import (
    approval_of,
    error_of,
    permission_profile,
    sandbox_of,
    stored_error,
    stored_sandbox,
)
from rollouts.shellwords import join_words, split_words
from rollouts.stored_items import stored_item

TIMES = {"started_at_ms": 1, "completed_at_ms": 2}
CHANGES = [
    FileUpdateChange(path="/a", kind=AddKind(), diff="x\n"),
    FileUpdateChange(path="/d", kind=DeleteKind(), diff="gone\n"),
    FileUpdateChange(path="/m", kind=UpdateKind(move_path="/m2"), diff="@@\n-a\n+b\n\n\nMoved to: /m2"),
    FileUpdateChange(path="/u", kind=UpdateKind(), diff="@@\n-a\n+b\n"),
]
ACTIONS = [
    ListFilesAction(command="ls", path=None),
    ReadAction(command="cat x", name="x", path="/x"),
    SearchAction(command="rg q", query="q", path=None),
    UnknownAction(command="z"),
]
ITEMS = [
    wire.UserMessageItem(
        id="u",
        client_id="c",
        content=[
            TextInput(
                text="look",
                text_elements=[TextElement(byte_range=ByteRange(start=0, end=4), placeholder="p")],
            ),
            ImageInput(url="data:x"),
            LocalImageInput(path="/a b.png"),
        ],
        **TIMES,
    ),
    wire.AgentMessageItem(id="a", text="hi", phase="commentary", **TIMES),
    wire.ReasoningItem(id="r", summary=["s"], content=["c"], **TIMES),
    wire.CommandExecutionItem(
        id="c",
        command="/bin/bash -lc 'echo hi; ls'",
        cwd="/a b/ü",
        process_id="7",
        source="unifiedExecStartup",
        status="failed",
        command_actions=ACTIONS,
        aggregated_output="out",
        exit_code=3,
        duration_ms=1234,
        **TIMES,
    ),
    wire.CommandExecutionItem(
        id="d", command="rm x", cwd="/", status="declined", command_actions=[], **TIMES
    ),
    wire.FileChangeItem(id="f", changes=CHANGES, status="completed", **TIMES),
    wire.PlanItem(id="p", text="- a\n", **TIMES),
    wire.WebSearchItem(
        id="w", query="q", action={"type": "findInPage", "url": "http://x", "pattern": "y"}, **TIMES
    ),
    wire.ImageViewItem(id="i", path="/p q.png", **TIMES),
    wire.ContextCompactionItem(id="k", **TIMES),
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_every_kind_of_item_comes_back_from_the_file(item):
    stored = msgspec.json.decode(msgspec.json.encode(stored_item(item)))
    assert item_of(stored, 1, 2) == item


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_every_kind_of_item_comes_back_from_a_legacy_file(item):
    events = events_of(item, "t")
    if events is None:
        assert isinstance(item, wire.PlanItem)
        return
    read = [item_of_event(msgspec.json.decode(msgspec.json.encode(event)), item.id) for event in events]
    if isinstance(item, wire.ReasoningItem):
        read = [wire.ReasoningItem(id=item.id, summary=read[0].summary, content=read[1].content)]
    expected = msgspec.structs.replace(item, started_at_ms=None, completed_at_ms=None)
    if isinstance(item, wire.CommandExecutionItem) and item.exit_code is None:
        expected = msgspec.structs.replace(expected, exit_code=-1, aggregated_output="", duration_ms=0)
    assert read == [expected]


@pytest.mark.parametrize(
    "stored",
    [
        None,
        5,
        [],
        {},
        {"type": "Nope", "id": "x"},
        {"type": "Plan"},
        {"type": "FileChange", "id": "x", "changes": 5},
    ],
)
def test_what_is_no_item_is_none(stored):
    assert item_of(stored) is None


@given(st.lists(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), min_size=1))
def test_a_command_line_splits_into_the_words_it_was_joined_from(words):
    assert split_words(join_words(words)) == words


def test_commands_are_quoted_as_the_peer_does():
    assert join_words(["/bin/bash", "-lc", "echo hi; ls"]) == "/bin/bash -lc 'echo hi; ls'"
    assert join_words(["echo", "it's $5"]) == 'echo "it\'s \\$5"'
    tricky = ["'$", "it's `x`", "'\\", "a!'^", 'say "no"', "", "tab\tnew\nline", "\\$"]
    echoed = subprocess.run(
        ["sh", "-c", f"printf '%s|' {join_words(tricky)}"], capture_output=True, check=True
    )
    assert echoed.stdout.decode() == "".join(f"{word}|" for word in tricky)
    assert split_words(join_words(tricky)) == tricky
    assert split_words("echo 'open") == ["echo 'open"]


@pytest.mark.parametrize(
    "policy",
    [
        DangerFullAccess(),
        ReadOnly(),
        ReadOnly(network_access=True),
        ExternalSandbox(network_access="enabled"),
        WorkspaceWrite(),
        WorkspaceWrite(writable_roots=("/x",), network_access=True, exclude_slash_tmp=True),
    ],
)
def test_sandbox_policies_come_back_from_the_file(policy):
    assert sandbox_of(msgspec.json.decode(msgspec.json.encode(stored_sandbox(policy)))) == policy
    assert permission_profile(policy, "/w")["type"] in {"disabled", "managed", "external"}


def test_policies_of_0_58_and_unknown_ones():
    assert sandbox_of({"mode": "workspace-write", "network_access": True}) == WorkspaceWrite(
        network_access=True
    )
    assert sandbox_of({"type": "new"}) is None
    assert sandbox_of({"type": ["x"]}) is None
    assert approval_of("on-failure") == "on-request"
    assert approval_of("never") == "never"
    assert approval_of("?") is None


@pytest.mark.parametrize(
    "info", [None, "usageLimitExceeded", {"httpConnectionFailed": {"httpStatusCode": 401}}]
)
def test_turn_errors_come_back_from_the_file(info):
    error = TurnError(message="m", codex_error_info=info, additional_details="d")
    assert error_of(stored_error(error)) == error


def test_a_line_passed_on_keeps_what_nobody_here_knows():
    raw = b'{"timestamp":"t","ordinal":7,"type":"new_thing","payload":{"x":[1,{"y":null}]},"metadata":{"k":1},"z":2}'
    assert renumber(raw, 9) == raw.replace(b":7", b":9") + b"\n"
    assert b"ordinal" not in renumber(raw, None)
    assert renumber(b"junk", 1) is None


def test_a_written_line_has_the_form_of_the_peer():
    raw = encode_line(Entry("event_msg", {"type": "x"}), stamp=timestamp(1795364117.857), ordinal=3)
    assert (
        raw
        == b'{"timestamp":"2026-11-22T16:15:17.857Z","ordinal":3,"type":"event_msg","payload":{"type":"x"}}\n'
    )
    assert decode_line(raw).ordinal == 3
