from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import InvalidCursorError
from config.models import default_model, find_model, list_models

TRACE = Path(__file__).resolve().parents[2] / "shared/protocol/traces-0.169/20-model-list-full.jsonl"
# Prose is our own; all else is what clients know from the peer.
PROSE = {"description", "message", "migrationMarkdown"}


def without_prose(value):
    if isinstance(value, list):
        return [without_prose(item) for item in value]
    if not isinstance(value, dict):
        return value
    return [(k, isinstance(v, str) and bool(v) if k in PROSE else without_prose(v)) for k, v in value.items()]


@pytest.mark.skipif(not TRACE.exists(), reason="the recordings are not here")
def test_the_list_is_the_peers_but_for_its_prose():
    messages = [json.loads(line)["msg"] for line in TRACE.read_text().splitlines()]
    (recorded,) = [m["result"] for m in messages if m.get("id") == 2 and "result" in m]
    ours = json.loads(msgspec.json.encode(list_models(include_hidden=True)))
    assert without_prose(ours) == without_prose(recorded)


def ids(page):
    return [model.id for model in page.data]


def test_hidden_models_are_left_out_and_one_model_is_the_default():
    shown = list_models()
    assert not any(model.hidden for model in shown.data)
    assert len(list_models(include_hidden=True).data) > len(shown.data)
    assert [model.id for model in shown.data if model.is_default] == [default_model()] == ["gpt-6.1-sol"]


@given(st.integers(0, 20), st.booleans())
def test_pages_of_any_size_make_up_the_list(limit, hidden):
    everything = ids(list_models(include_hidden=hidden))
    seen, cursor = [], None
    while True:
        page = list_models(cursor, limit, include_hidden=hidden)
        assert len(page.data) <= max(limit, 1)
        seen += ids(page)
        cursor = page.next_cursor
        if cursor is None:
            break
        assert cursor == str(len(seen))
    assert seen == everything


def test_a_cursor_is_the_index_of_the_first_model():
    everything = ids(list_models())
    assert ids(list_models("+1", 0)) == everything[1:2]
    assert ids(list_models("007")) == everything[7:]
    end = list_models(str(len(everything)))
    assert (end.data, end.next_cursor) == ([], None)


@pytest.mark.parametrize("cursor", ["bogus", "-1", " 1", "", "1_0", "٣", "++1", "+", str(2**64), "9" * 5000])
def test_what_is_no_index_is_refused(cursor):
    with pytest.raises(InvalidCursorError) as caught:
        list_models(cursor)
    assert str(caught.value) == f"invalid cursor: {cursor}"


def test_an_index_behind_the_end_is_refused():
    with pytest.raises(InvalidCursorError, match="cursor 99 exceeds total models 9"):
        list_models("99")


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-5.5", 258_400),
        ("gpt-6.1-terra", 475_000),
        ("gpt-daybreak-red-latest", 353_400),
        ("never heard of", 258_400),
    ],
)
def test_clients_see_the_usable_part_of_the_window(model, window):
    info = find_model(model)
    assert info.usable_window == window
    assert window < info.context_window
    assert info.compact_limit < info.usable_window
    assert info.known == (model != "never heard of")


def test_an_unknown_model_edits_through_the_shell():
    assert "apply_patch" in find_model("gpt-5.5").tools
    unknown = find_model("never heard of")
    assert "apply_patch" not in unknown.tools
    assert "exec_command" in unknown.tools
    assert (unknown.verbosity, unknown.default_effort) == (None, None)
