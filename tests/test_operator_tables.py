"""What operators' commands print for people."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.commands.table import cut, legible, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 名前 🙂", "naïve 名前 🙂"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("turned \u202e round", r"turned \u202e round"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text, shown):
    assert legible(text) == shown


def test_wide_letters_take_two_places():
    assert table([["名前", "x"], ["a", "y"]]) == ["名前  x", "a     y"]


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_a_line_is_cut_to_what_fits(text, columns):
    line = cut(legible(text), columns)
    assert legible(text).startswith(line)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in line)
    marks = sum(unicodedata.combining(letter) > 0 for letter in line)
    assert len(line) + wide - marks <= columns
