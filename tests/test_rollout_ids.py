from __future__ import annotations

import contextlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts import ids
from rollouts.errors import InvalidThreadId
from rollouts.ids import IdSource, canonical_id, id_time_ms, new_id

ID = "01a20402-fda2-74a2-98ce-91922c68316b"
CHARACTER = "invalid character: expected an optional prefix of `urn:uuid:` followed by [0-9a-fA-F-], found "


def test_new_ids_are_version_7_and_in_order():
    made = [new_id() for _ in range(5000)]
    assert made == sorted(set(made))
    assert {uuid.UUID(text).version for text in made} == {7}
    assert {uuid.UUID(text).variant for text in made} == {uuid.RFC_4122}


def test_ids_stay_in_order_when_the_clock_steps_back(monkeypatch):
    source = IdSource()
    times = iter([2_000_000_000_000, 1_000_000_000_000, 1_000_000_000_000])
    monkeypatch.setattr(ids.time, "time_ns", lambda: next(times) * 1_000_000)
    made = [source.make() for _ in range(3)]
    assert made == sorted(set(made))


def test_an_id_tells_when_it_was_made():
    assert id_time_ms(ID) == 0x01A20402FDA2
    assert id_time_ms("00000000-0000-4000-8000-000000000000") is None


@pytest.mark.parametrize("text", [ID, ID.upper(), ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}"])
def test_all_forms_the_peer_takes(text):
    assert canonical_id(text) == ID


# Answers of Codex 0.169 to thread/read with these ids.
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope", CHARACTER + "`n` at 1"),
        ("", "invalid length: expected length 32 for simple format, found 0"),
        ("0", "invalid length: expected length 32 for simple format, found 1"),
        (ID[:-1], "invalid group length in group 4: expected 12, found 11"),
        (ID + "b", "invalid group length in group 4: expected 12, found 13"),
        (ID[:-1] + "g", CHARACTER + "`g` at 36"),
        ("01a20402-fda274a2-98ce-91922c68316b0", "invalid group count: expected 5, found 4"),
        ("0-0-0-0-0", "invalid group length in group 0: expected 8, found 1"),
        ("01a2040-2fda2-74a2-98ce-91922c68316b", "invalid group length in group 0: expected 8, found 7"),
        ("é1a20402-fda2-74a2-98ce-91922c68316b", CHARACTER + "`é` at 1"),
        ("01a20402-fda2-74a2-98ce", "invalid group count: expected 5, found 4"),
        ("-----", "invalid group count: expected 5, found 6"),
        ("{01a20402fda274a298ce91922c68316b}", "invalid group count: expected 5, found 1"),
        ("urn:uuid:zz", CHARACTER + "`z` at 10"),
        (" " + ID, CHARACTER + "` ` at 1"),
        ("01a20402-fda2-74a2-98c-e91922c68316b", "invalid group length in group 3: expected 4, found 3"),
        ("{" + ID, CHARACTER + "`{` at 1"),
        ("abc€", CHARACTER + "`€` at 4"),
        ("1234-5", "invalid group count: expected 5, found 2"),
    ],
)
def test_errors_are_worded_as_the_peer_does(text, message):
    with pytest.raises(InvalidThreadId) as caught:
        canonical_id(text)
    assert str(caught.value) == message


@given(st.text())
def test_any_text_is_an_id_or_refused(text):
    with contextlib.suppress(InvalidThreadId):
        assert uuid.UUID(canonical_id(text))
