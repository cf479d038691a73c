"""Which texts are patches, and that any patch is done whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patch_texts import run, text_of

from workers.tools import patch as door
from workers.tools.patch import PatchApplyError, PatchError, PatchSyntaxError, PatchVerifyError

FRAGMENTS = [
    *(
        "*** Add File: c",
        "*** Add File: a/d",
        "*** Update File: a",
        "*** Update File: b",
        "*** Delete File: b",
    ),
    *("*** Move to: e/f", "*** End of File", "@@", "@@ 1", " 1", "-1", "+new", "-2", "-x", "", "+"),
]
"""Lines of which patches are made that nearly fit."""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("garbage", "invalid patch: The first line of the patch must be '*** Begin Patch'"),
        ("", "invalid patch: The first line of the patch must be '*** Begin Patch'"),
        ("*** Begin Patch", "invalid patch: The last line of the patch must be '*** End Patch'"),
        (
            "*** Begin Patch\n*** Add File: x\n+1\n",
            "invalid patch: The last line of the patch must be '*** End Patch'",
        ),
        (
            text_of("*** Foo"),
            (
                "invalid hunk at line 2, '*** Foo' is not a valid hunk header. Valid hunk headers: "
                "'*** Add File: {path}', '*** Delete File: {path}', '*** Update File: {path}'"
            ),
        ),
        (
            text_of("*** Add File: x", "+1", "oops"),
            (
                "invalid hunk at line 4, 'oops' is not a valid hunk header. Valid hunk headers: "
                "'*** Add File: {path}', '*** Delete File: {path}', '*** Update File: {path}'"
            ),
        ),
        (text_of("*** Update File: a"), "invalid hunk at line 2, Update file hunk for path 'a' is empty"),
        (
            text_of("*** Update File: a", "@@"),
            "invalid hunk at line 4, Update hunk does not contain any lines",
        ),
        (
            text_of("*** Update File: a", "@@", "*** End of File"),
            "invalid hunk at line 4, Update hunk does not contain any lines",
        ),
        (
            text_of("*** Update File: a", "@@", "@@", "-x"),
            (
                "invalid hunk at line 4, Unexpected line found in update hunk: '@@'. Every line should start with ' ' "
                "(context line), '+' (added line), or '-' (removed line)"
            ),
        ),
        (
            text_of("*** Update File: a", "@@", " x", "*** Foo"),
            "invalid hunk at line 5, Expected update hunk to start with a @@ context marker, got: '*** Foo'",
        ),
        (
            text_of("*** Add File: a\0b", "+x"),
            "invalid hunk at line 2, a path must not contain a NUL character",
        ),
        (text_of("*** Add File: a", "+\ud800"), "invalid patch: the text is not valid Unicode"),
    ],
)
def test_text_that_is_no_patch_is_refused_in_the_peers_words(text, error):
    with pytest.raises(PatchSyntaxError) as caught:
        door.parse(text)
    assert str(caught.value) == error
    assert door.failure(caught.value) == f"apply_patch verification failed: {error}"


@pytest.mark.parametrize(
    "wrapped",
    ["\n\n{}\n \n", "<<'EOF'\n{}EOF\n", '<<"END"\n{}END', "apply_patch <<EOF\n{}\nEOF\n", "  {}"],
)
def test_blank_space_and_a_heredoc_around_a_patch_are_ignored(wrapped):
    text = text_of("*** Add File: x", "+1", "+")
    assert door.parse(wrapped.format(text)) == door.parse(text)


def test_a_patch_with_carriage_returns_says_the_same():
    text = text_of("*** Update File: a", "*** Move to: b", "@@ c", " d", "", "-e", "*** End of File")
    assert door.parse(text.replace("\n", "\r\n")) == door.parse(text)


def test_an_empty_patch_is_rejected_without_the_verification_prefix(tmp_path):
    with pytest.raises(PatchVerifyError) as caught:
        run(tmp_path)
    assert door.failure(caught.value) == "patch rejected: empty patch"


@given(st.text(alphabet=st.sampled_from("*@+- \nab<E\r\0é")) | st.text())
def test_any_text_is_a_patch_or_a_patch_error(text):
    refusals: list[str] = []
    for candidate in (text, text_of(text), text_of("*** Update File: f", *text.split("\n"))):
        try:
            door.verify(door.parse(candidate), "/nonexistent")
        except PatchError as error:
            refusals.append(str(error))
    assert all(refusals)


LINES = (
    "*** Update File: f",
    "*** Add File: g",
    "*** Delete File: f",
    "*** Move to: h",
    "@@",
    "@@ a",
    " a",
    "-a",
)

PIECES = st.lists(
    st.sampled_from((*LINES, "-b", "+a", "+c", " ", "", "*** End of File", "*** Add File: f/x", "x"))
)


@given(PIECES)
def test_any_patch_is_done_as_announced_or_changes_nothing(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("any")
    folder.joinpath("f").write_bytes(b"a\nb\n\na")
    try:
        verified = door.verify(door.parse(text_of(*lines)), str(folder))
    except PatchError:
        assert [path.name for path in folder.iterdir()] == ["f"]
        assert folder.joinpath("f").read_bytes() == b"a\nb\n\na"
        return
    try:
        door.apply(verified)
    except PatchApplyError:
        return
    for change in verified.changes:
        target = Path(change.move_path or change.path)
        if change.new is not None:
            assert target.read_bytes() == change.new
        elif not any(other.path.startswith(f"{change.path}/") for other in verified.changes):
            assert not target.exists()


@given(st.binary(max_size=200), st.lists(st.sampled_from(FRAGMENTS), max_size=12))
def test_any_text_is_refused_with_a_word_or_leaves_whole_files(tmp_path_factory, noise, fragments):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "a").write_text("1\n2\n1\n")
    (folder / "b").write_text("x\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for body in (noise, "\n".join(fragments).encode() + noise):
        text = b"*** Begin Patch\n" + body + b"\n*** End Patch\n"
        try:
            done = door.apply(door.verify(door.parse(text.decode(errors="surrogateescape")), str(folder)))
        except door.PatchError as error:
            said = str(error)
            assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
        else:
            said = done
            before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert said
        assert not list(folder.rglob(".patch-*"))
