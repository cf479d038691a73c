"""Where the hunks of a patch belong in a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patch_texts import run

from workers.tools.patch import PatchVerifyError


@pytest.mark.parametrize(
    ("old", "hunk", "new"),
    [
        ("one\ntwo\n", ["@@", " one", "-two", "+2"], "one\n2\n"),
        ("one\ntwo\n", ["-one", "+1"], "1\ntwo\n"),
        ("one\ntwo\n", ["@@", "+three"], "one\ntwo\nthree\n"),
        ("one\ntwo\n", ["@@", "+x", "@@", "-one"], "two\nx\n"),
        ("a\nx\nb\nx\n", ["@@ b", "-x", "+y"], "a\nx\nb\ny\n"),
        ("a\nb\nc\n", ["@@ a", "+new"], "a\nnew\nb\nc\n"),
        ("x\na\nx\n", ["@@", "-x", "+y", "*** End of File"], "x\na\ny\n"),
        ("x\nlast", ["@@", "-last", "+end"], "x\nend\n"),
        ("x\nlast", ["@@", "-x"], "last\n"),
        ("x\nlast", ["@@", "+more"], "x\nlast\nmore\n"),
        ("", ["@@", "+first"], "first\n"),
        ("only", ["@@", "-only"], ""),
        ("x\r\na\r\nz\r\n", ["@@", " x", "-a", "+b", "+c"], "x\r\nb\r\nc\r\nz\r\n"),
        ("x\r\na\nz\n", ["@@", "-a", "+b"], "x\r\nb\r\nz\n"),
        ("  x  \n\ta\n", ["@@", " x", "-a", "+b"], "  x  \nb\n"),
        ("x \u2013 y\n\u2018a\u2019\n", ["@@", " x - y", "-'a'", "+b"], "x \u2013 y\nb\n"),
        ("\ufeffx\ny\n", ["@@", "-x", "+z"], "\ufeffz\ny\n"),
        ("a\n\nc\n", ["@@", "-a", "+b", "", " c"], "b\n\nc\n"),
        ("a\nfour\n", ["@@", "-four", "-", "+4"], "a\n4\n"),
        ("a\nfour\n", ["@@", " four", " ", "+five"], "a\nfour\n\nfive\n"),
        ("1\n2\n3\n4\n5\n", ["@@", "-1", "+x", "@@", "-3", "@@", " 5", "+6"], "x\n2\n4\n5\n6\n"),
        ("  k\nk\n", ["@@", "-k", "+exact first"], "  k\nexact first\n"),
    ],
)
def test_hunks_are_found_and_done(tmp_path, old, hunk, new):
    file = tmp_path / "f"
    file.write_bytes(old.encode())
    assert run(tmp_path, "*** Update File: f", *hunk) == "Success. Updated the following files:\nM f\n"
    assert file.read_bytes() == new.encode()


@pytest.mark.parametrize(
    ("hunk", "error"),
    [
        (["@@", " hello", "-nobody"], "Failed to find expected lines in {}/f:\nhello\nnobody"),
        (["@@ nowhere", "-world"], "Failed to find context 'nowhere' in {}/f"),
        (["@@", "-world", "@@", "-hello"], "Failed to find expected lines in {}/f:\nhello"),
        (["@@", "-hello", "*** End of File"], "Failed to find expected lines in {}/f:\nhello"),
    ],
)
def test_hunks_that_do_not_fit_name_the_file_and_the_lines(tmp_path, hunk, error):
    tmp_path.joinpath("f").write_text("hello\nworld\n")
    with pytest.raises(PatchVerifyError) as caught:
        run(tmp_path, "*** Add File: g", "+1", "*** Update File: f", *hunk)
    assert str(caught.value) == error.format(tmp_path)
    assert not tmp_path.joinpath("g").exists()


@given(st.data())
def test_a_patch_made_from_two_texts_turns_one_into_the_other(tmp_path_factory, data):
    line_end = data.draw(st.sampled_from(["\n", "\r\n"]))
    line = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\ufeff"), max_size=6)
    old = data.draw(st.lists(line, min_size=1, max_size=20))
    edited = data.draw(st.lists(st.sampled_from("kkkdr"), min_size=len(old), max_size=len(old)))
    new: list[str] = []
    hunk = ["@@"]
    # a single hunk over the whole file has one place only, so repeated lines cannot mislead it
    for text, edit in zip(old, edited, strict=True):
        hunk.append(f" {text}" if edit == "k" else f"-{text}")
        if edit == "k":
            new.append(text)
        elif edit == "r":
            fresh = data.draw(st.lists(line, max_size=3))
            hunk += [f"+{text}" for text in fresh]
            new += fresh
    folder = tmp_path_factory.mktemp("two")
    final = data.draw(st.booleans())
    body = line_end.join(old) + (line_end if final or not old[-1] else "")
    folder.joinpath("f").write_bytes(body.encode())
    run(folder, "*** Update File: f", *hunk)
    expected_end = line_end if line_end in body else "\n"
    assert folder.joinpath("f").read_bytes().decode() == "".join(text + expected_end for text in new)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r")), max_size=10))
def test_an_added_file_has_the_lines_of_the_patch(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("add")
    run(folder, "*** Add File: a/b/f", *(f"+{line}" for line in lines))
    assert folder.joinpath("a/b/f").read_bytes().decode() == "".join(f"{line}\n" for line in lines)


def test_a_long_file_of_one_line_repeated_is_searched_in_linear_time(tmp_path):
    tmp_path.joinpath("f").write_text("}\n" * 60_000)
    with pytest.raises(PatchVerifyError):
        run(tmp_path, "*** Update File: f", "@@", *([" }"] * 30_000), "-{")


@pytest.mark.parametrize(
    ("old", "hunk", "lines"),
    [
        ("a\nb\nc\nb\n", ["@@", "-b", "+x"], "2 and 4"),
        ("f\nb\nf\nb\n", ["@@ f", "-b", "+x"], "2 and 4"),
        ("f\n1\nf\n2\n", ["@@ f", "+x"], "1 and 3"),
    ],
)
def test_a_hunk_that_fits_in_two_places_is_refused(tmp_path, old, hunk, lines):
    (tmp_path / "f").write_text(old)
    with pytest.raises(PatchVerifyError, match=f"Ambiguous lines in .*/f, found at lines {lines}"):
        run(tmp_path, "*** Update File: f", *hunk)
    assert (tmp_path / "f").read_text() == old


@pytest.mark.parametrize(
    ("old", "hunk", "new"),
    [
        ("a\n\n\nb\n", ["@@", "-"], "a\n\nb\n"),
        ("f\nb\ng\nb\n", ["@@ g", "-b", "+x"], "f\nb\ng\nx\n"),
        ("f\nb\nf\n", ["@@ f", "-b", "+x"], "f\nx\nf\n"),
        ("b\nb\n", ["@@", "-b", "+x", "*** End of File"], "b\nx\n"),
    ],
)
def test_context_or_the_same_result_settles_where_a_hunk_belongs(tmp_path, old, hunk, new):
    (tmp_path / "f").write_text(old)
    run(tmp_path, "*** Update File: f", *hunk)
    assert (tmp_path / "f").read_text() == new


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([""], "one\ntwo\n"),
        ([" "], "one\ntwo\n"),
        (["@@", ""], "one\ntwo\n"),
        (["@@", "-", "+x"], "x\none\ntwo\n"),
        (["@@ one", "-", "+x"], "one\nx\ntwo\n"),
        (["@@", " ", "+x"], "\nx\none\ntwo\n"),
        (["@@ one", "+x", " "], "one\nx\ntwo\n"),
    ],
)
def test_a_blank_line_that_is_not_there_is_none(tmp_path, lines, text):
    (tmp_path / "f").write_text("one\ntwo\n")
    run(tmp_path, "*** Update File: f", *lines)
    assert (tmp_path / "f").read_text() == text
