from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.items import AgentMessageItem, ReasoningItem, UserMessageItem
from rollouts.chain import read_meta
from rollouts.errors import RolloutDamaged, RolloutError
from rollouts.heads import read_summary
from rollouts.layout import parse_name
from rollouts.reader import read_history

FIXTURES = Path(__file__).parent / "fixtures" / "rollouts"
SHARED = Path(__file__).resolve().parents[2] / "shared"
NAME = "rollout-2026-11-22T16-41-17-01a20422-0000-7000-8000-000000000001.jsonl"
TURNS = ["01a20422-0000-7000-8000-00000000000" + letter for letter in "abc"]


def inputs(history):
    return [msgspec.json.decode(raw) for raw in history.input_items]


def test_a_paginated_rollout():
    history = read_history(FIXTURES / "paginated.jsonl")
    assert (history.mode, history.preview, history.next_ordinal) == ("paginated", "run it", 24)
    assert [turn.id for turn in history.turns] == TURNS
    first, failed, open_turn = history.turns
    assert [item.id for item in first.items] == ["u1", "call_1", "call_2", "m1"]
    assert (first.status, first.started_at, first.completed_at, first.duration_ms) == (
        "completed",
        1795364117,
        1795364118,
        139,
    )
    assert [change.path for change in first.items[2].changes] == ["/a", "/b"]
    assert first.items[1].duration_ms == 1500
    assert history.unknown_items == 1
    assert failed.status == "failed"
    assert failed.error.message == "no such key"
    assert failed.error.codex_error_info == {"httpConnectionFailed": {"httpStatusCode": 401}}
    assert failed.items[0].client_id == "c2"
    assert (open_turn.status, open_turn.completed_at) == ("interrupted", None)
    assert history.open_turn_id == TURNS[2]
    assert (history.context.model, history.context.effort) == ("gpt-5.5", "high")


def test_the_model_gets_the_compacted_history_with_every_call_answered():
    history = read_history(FIXTURES / "paginated.jsonl")
    items = inputs(history)
    assert [item["type"] for item in items] == ["message"] * 3 + ["function_call", "function_call_output"]
    assert items[-1] == {"type": "function_call_output", "call_id": "call_9", "output": "aborted"}
    assert not any("internal_chat_message_metadata_passthrough" in item for item in items)


def test_a_legacy_rollout_has_the_ids_the_peer_gives():
    history = read_history(FIXTURES / "legacy.jsonl")
    assert (history.mode, history.preview, history.next_ordinal) == ("legacy", "first question", None)
    # The turn_context line of 0.58 is not counted.
    assert [(turn.id, turn.status) for turn in history.turns] == [
        ("rollout-3", "completed"),
        ("rollout-12", "interrupted"),
    ]
    user, reasoning, answer = history.turns[0].items
    assert isinstance(user, UserMessageItem)
    assert isinstance(reasoning, ReasoningItem)
    assert isinstance(answer, AgentMessageItem)
    assert [item.id for item in history.turns[0].items] == ["item-1", "item-2", "item-3"]
    assert reasoning.summary == ["think", "more"]
    assert len(history.turns[1].items[0].content) == 2
    assert history.tokens.total_token_usage.total_tokens == 130
    assert len(inputs(history)) == 6


def test_junk_and_a_torn_end_are_passed_over(tmp_path):
    lines = (FIXTURES / "paginated.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / NAME
    path.write_bytes(
        b"".join([*lines[:5], b"\x00\x00\n", b'{"type":5}\n', b"[[[[\n", *lines[5:-1], lines[-1][:-20]])
    )
    history = read_history(path)
    assert (history.junk, history.torn, history.gaps) == (3, True, 0)
    assert len(history.turns) == 3


def test_a_missing_line_shows_as_a_gap(tmp_path):
    lines = (FIXTURES / "paginated.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / NAME
    path.write_bytes(b"".join(lines[:6] + lines[7:]))
    assert read_history(path).gaps == 1


def test_a_summary_without_replacement_keeps_the_user_messages(tmp_path):
    path = tmp_path / NAME
    line = b'{"timestamp":"t","type":"compacted","payload":{"message":"in short"}}\n'
    path.write_bytes((FIXTURES / "legacy.jsonl").read_bytes() + line)
    items = inputs(read_history(path))
    assert [item["role"] for item in items] == ["user"] * 4
    assert items[-1]["content"][0]["text"] == "in short"


def test_turns_rolled_back_are_gone_from_both_views(tmp_path):
    path = tmp_path / NAME
    line = b'{"timestamp":"t","type":"event_msg","payload":{"type":"thread_rolled_back","num_turns":1}}\n'
    path.write_bytes((FIXTURES / "legacy.jsonl").read_bytes() + line)
    history = read_history(path)
    assert [turn.id for turn in history.turns] == ["rollout-3"]
    assert inputs(history)[-1]["content"][0]["text"] == "first answer"


REVERT = "01a20422-0000-7000-8000-0000000000ff"
BASE = "01a20422-0000-7000-8000-000000000002"


def write_revert(folder, base_id=BASE, end=15):
    meta = {
        "id": BASE,
        "history_mode": "paginated",
        "history_base": {"thread_id": base_id, "end_ordinal_exclusive": end},
    }
    events = [
        {"type": "task_started", "turn_id": "t9"},
        {
            "type": "item_completed",
            "turn_id": "t9",
            "item": {"type": "UserMessage", "id": "u9", "content": [{"type": "text", "text": "instead"}]},
        },
        {"type": "task_complete", "turn_id": "t9"},
    ]
    lines = [{"ordinal": end, "type": "session_meta", "payload": meta}]
    lines += [
        {"ordinal": end + 1 + at, "type": "event_msg", "payload": event} for at, event in enumerate(events)
    ]
    path = folder / f"rollout-2026-11-22T16-15-17-{BASE}_{REVERT}.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def test_a_revert_is_read_on_top_of_what_it_builds_on(tmp_path):
    day = tmp_path / "sessions" / "2026" / "11" / "22"
    day.mkdir(parents=True)
    shutil.copyfile(FIXTURES / "paginated.jsonl", day / f"rollout-2026-11-22T16-15-17-{BASE}.jsonl")
    history = read_history(write_revert(day))
    assert [turn.id for turn in history.turns] == [TURNS[0], "t9"]
    assert (history.next_ordinal, history.preview, history.gaps) == (19, "run it", 0)


def test_a_revert_of_nothing_and_of_itself_is_damaged(tmp_path):
    day = tmp_path / "sessions" / "2026" / "11" / "22"
    day.mkdir(parents=True)
    path = write_revert(day)
    with pytest.raises(RolloutDamaged, match="missing"):
        read_history(path)
    with pytest.raises(RolloutDamaged, match="itself"):
        read_history(write_revert(day, base_id=REVERT))


META = b'{"type":"session_meta","payload":{"id":"x","history_mode":"paginated"}}\n'
LINE = st.sampled_from(
    [
        *(FIXTURES / "paginated.jsonl").read_bytes().splitlines(keepends=True),
        *(FIXTURES / "legacy.jsonl").read_bytes().splitlines(keepends=True),
        b'{"type":"event_msg","payload":{"type":"item_completed","turn_id":5,"item":[]}}\n',
        b'{"type":"event_msg","payload":{"type":"user_message","message":[1]}}\n',
        b'{"type":"event_msg","payload":{"type":"exec_command_end","command":"x"}}\n',
        b'{"type":"event_msg","payload":{"type":"thread_rolled_back","num_turns":99}}\n',
        b'{"type":"event_msg","payload":{"type":"error"}}\n',
        b'{"type":"turn_context","payload":{"sandbox_policy":7}}\n',
        b'{"type":"compacted","payload":{"replacement_history":[5]}}\n',
        b'{"type":"response_item","payload":"x"}\n',
        b"[" * 5000 + b"\n",
        b'{"type":"event_msg","payload":' + b'{"a":' * 3000 + b"\n",
        b"\xff\xfe\n",
    ]
)


@settings(max_examples=120, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.lists(st.one_of(LINE, st.binary(max_size=40))).map(b"".join)))
@example(b"")
def test_any_bytes_are_a_rollout_or_damaged(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / NAME
    for start in (b"", META):
        path.write_bytes(start + data)
        read_summary(str(path), parse_name(NAME), lambda _: None)
        try:
            history = read_history(path)
        except RolloutError:
            assert not start or b"history_base" in data
            continue
        msgspec.json.encode(history.turns)
        for raw in history.input_items:
            msgspec.json.decode(raw)


@pytest.mark.parametrize(
    "name", ["169-patch", "169-shell", "169-thread-resumed-reverted-compacted", "58-shell"]
)
def test_recordings_of_the_peer(name):
    path = SHARED / "protocol" / "rollouts" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("the recorded rollouts are not here")
    history = read_history(path)
    assert (history.junk, history.gaps, history.torn, history.unknown_items) == (0, 0, False, 0)
    assert history.turns
    assert all(turn.status == "completed" and turn.items for turn in history.turns)
    assert history.preview
    assert history.tokens


def test_a_legacy_recording_reads_as_the_peer_reads_it():
    trace = SHARED / "protocol" / "traces-0.169" / "40-legacy58-rollout.jsonl"
    if not trace.exists():
        pytest.skip("the recordings are not here")
    lines = [msgspec.json.decode(line) for line in trace.read_bytes().splitlines()]
    results = [line["msg"].get("result", {}) for line in lines if line["dir"] == "s2c"]
    told = next(result["thread"]["turns"] for result in results if result.get("thread", {}).get("turns"))
    history = read_history(SHARED / "protocol" / "rollouts" / "58-shell.jsonl")
    assert [msgspec.to_builtins(turn) for turn in history.turns] == told


def test_meta_needs_to_be_in_front(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b"{}\n" * 100 + META)
    with pytest.raises(RolloutDamaged, match="no session metadata"):
        read_meta(path)
