"""Keeping output: bounded, counted, never torn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_backends import HeadTail, TextStream

chunks = st.lists(st.binary(max_size=40), max_size=30)


@given(chunks, st.integers(0, 64))
def test_both_ends_are_kept_and_every_byte_counted(pieces, cap):
    kept = HeadTail(cap)
    for piece in pieces:
        kept.push(piece)
    whole = b"".join(pieces)
    captured = kept.captured()
    assert captured.total == kept.total == len(whole)
    assert len(captured.raw()) == min(cap, len(whole))
    assert whole.startswith(captured.head)
    assert whole.endswith(captured.tail)
    assert kept.full == (len(whole) > cap) == (captured.omitted > 0)


@given(chunks, st.integers(0, 64))
def test_head_only(pieces, cap):
    kept = HeadTail(cap, "head")
    for piece in pieces:
        kept.push(piece)
    assert kept.captured().raw() == b"".join(pieces)[:cap]


@given(chunks)
def test_without_a_cap_all_is_kept(pieces):
    kept = HeadTail(None)
    for piece in pieces:
        kept.push(piece)
    assert kept.captured().raw() == b"".join(pieces)
    assert not kept.full


@given(chunks, st.integers(1, 200))
def test_the_last_bytes(pieces, size):
    kept = HeadTail(400)
    for piece in pieces:
        kept.push(piece)
    assert kept.last(size) == b"".join(pieces)[-size:]


@given(st.text(max_size=80), st.integers(1, 7))
def test_split_characters_survive(text, size):
    data = text.encode()
    stream = TextStream()
    pieces = [stream.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert "".join(pieces) + stream.finish() == text


@given(st.text(alphabet="aé漢😀\n", min_size=30, max_size=80), st.integers(8, 40))
def test_the_marker_stands_on_a_line_of_its_own_and_nothing_is_torn(text, cap):
    kept = HeadTail(cap)
    kept.push(text.encode())
    said = kept.captured().text()
    assert "\ufffd" not in said
    if kept.full:
        marker = f"... {kept.captured().omitted} bytes omitted ..."
        assert marker in said.splitlines()


def test_bad_bytes_are_replaced():
    kept = HeadTail(None)
    kept.push(b"a\xff\xfeb")
    assert kept.captured().text() == "a\ufffd\ufffdb"


def test_a_negative_cap_is_an_error():
    with pytest.raises(ValueError, match="negative"):
        HeadTail(-1)
