from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.models import sse
from workers.models.sse import EventTooLargeError, SseSplitter


def split(stream, cuts=()):
    splitter = SseSplitter()
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    events = []
    for start, end in pairwise(places):
        events += splitter.feed(stream[start:end])
    return events + splitter.finish()


def by_the_book(stream):
    """The parsing rules, a line at a time, on the whole stream; the last event needs no empty line."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    events, data = [], []
    for line in [*re.split(rb"\r\n|\r|\n", stream), b"", b""]:
        if not line:
            if b"\n".join(data):
                events.append(b"\n".join(data))
            data = []
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
    return events


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_all_line_ends(newline):
    lines = [
        b": hi",
        b"event: x",
        b"data: one",
        b"",
        b"data:two",
        b"data:  three",
        b"data",
        b"id: 4",
        b"",
        b"datax: no",
        b"",
    ]
    assert split(newline.join(lines) + newline) == [b"one", b"two\n three\n"]


def test_byte_order_mark_is_skipped_even_byte_by_byte():
    assert split(b"\xef\xbb\xbfdata: a\n\n", range(6)) == [b"a"]


def test_a_byte_order_mark_elsewhere_is_part_of_the_line():
    assert split(b"data: a\n\n\xef\xbb\xbfdata: b\n\n") == [b"a"]


def test_crlf_split_between_chunks_is_one_line_end():
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\r") == []
    assert splitter.feed(b"\ndata: b\r") == []
    assert splitter.feed(b"\n") == []
    assert splitter.feed(b"\r\n") == [b"a\nb"]


def test_empty_data_is_no_event():
    assert split(b"data\n\ndata:\n\ndata: x\n\n") == [b"x"]


PIECES = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"data",
        b"event: e",
        b": c",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        b'{"a":1}',
        b" ",
        b":",
        b"\xc3\xa4",
    ]
)


@given(st.lists(PIECES, max_size=40).map(b"".join), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_chunking_gives_what_the_rules_say(stream, cuts):
    assert split(stream, cuts) == by_the_book(stream)


@given(st.binary(max_size=80), st.lists(st.integers(0, 200), max_size=20))
def test_any_bytes(stream, cuts):
    assert split(stream, cuts) == by_the_book(stream)


@pytest.mark.parametrize("line", [b"x" * 50, b"data: " + b"x" * 14 + b"\n"])
def test_an_event_without_end_is_refused(monkeypatch, line):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 200)
    splitter = SseSplitter()

    def endless():
        for _ in range(20):
            assert splitter.feed(line) == []

    with pytest.raises(EventTooLargeError):
        endless()


def test_many_small_events_are_not_one_large(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 200)
    assert split(b"data: 0123456789\n\n" * 50, range(0, 900, 7)) == [b"0123456789"] * 50
