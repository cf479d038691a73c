from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workers.proposed_plan import PlanSplitter, split_plan

TEXT = "Intro\n<proposed_plan>\n- a\n- b\n</proposed_plan>\nOutro <proposed_plan> stays\n"
pieces = st.lists(
    st.sampled_from(["<proposed_plan>", "</proposed_plan>", "\n", " ", "x", "- y", "<", "</pro", "\r\n"]),
    max_size=20,
)


def test_a_tag_counts_only_alone_on_its_line():
    assert split_plan(TEXT) == ("Intro\nOutro <proposed_plan> stays\n", "- a\n- b\n")


def test_an_unclosed_plan_is_a_plan_all_the_same():
    assert split_plan("<proposed_plan>\n- a\n") == ("", "- a\n")


def test_a_closing_tag_needs_no_newline():
    assert split_plan("<proposed_plan>\n- a\n</proposed_plan>") == ("", "- a\n")


@given(st.lists(st.integers(0, len(TEXT)), max_size=12))
def test_wherever_the_stream_is_cut_the_parts_are_the_same(cuts):
    splitter = PlanSplitter()
    edges = [0, *sorted(cuts), len(TEXT)]
    parts = [p for a, b in pairwise(edges) for p in splitter.feed(TEXT[a:b])]
    parts += splitter.finish()
    assert "".join(t for kind, t in parts if kind == "text") == "Intro\nOutro <proposed_plan> stays\n"
    assert "".join(t for kind, t in parts if kind == "plan") == "- a\n- b\n"


@given(pieces)
def test_nothing_but_tags_is_ever_lost(words):
    text = "".join(words)
    kept = "".join(split_plan(text))
    for line in text.splitlines():
        if line.strip() not in ("<proposed_plan>", "</proposed_plan>"):
            assert line in kept
