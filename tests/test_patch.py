from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.tools import patch as door
from workers.tools.patch import PatchApplyError, PatchError, PatchSyntaxError, PatchVerifyError
from workers.tools.patch_program import patch_argv, patch_input


def text_of(*lines: str) -> str:
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch"]) + "\n"


def run(folder: Path, *lines: str) -> str:
    return door.apply(door.verify(door.parse(text_of(*lines)), str(folder)))


def changes(folder: Path, *lines: str) -> list[tuple[str, str, str]]:
    verified = door.verify(door.parse(text_of(*lines)), str(folder))
    return [
        (os.path.relpath(change.path, folder), change.kind.__struct_config__.tag, change.diff)
        for change in door.wire_changes(verified)
    ]


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

# --- what is read ------------------------------------------------------------------------------------


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


# --- what is found ---------------------------------------------------------------------------------


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


# --- what is written -------------------------------------------------------------------------------


def test_the_summary_lists_added_updated_deleted_as_the_patch_named_them(tmp_path):
    tmp_path.joinpath("b").write_text("x\n")
    tmp_path.joinpath("c").write_text("gone\n")
    summary = run(
        tmp_path,
        "*** Delete File: c",
        "*** Update File: ./b",
        "@@",
        "-x",
        "+y",
        f"*** Add File: {tmp_path}/sub/../hello.txt",
        "+hello",
    )
    assert summary == f"Success. Updated the following files:\nA {tmp_path}/sub/../hello.txt\nM ./b\nD c\n"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "b": "y\n",
        "hello.txt": "hello\n",
    }


def test_wire_changes_have_the_peers_form(tmp_path):
    tmp_path.joinpath("a").write_text("1\n2\n3\n4\n")
    tmp_path.joinpath("b").write_text("x")
    tmp_path.joinpath("c").write_text("c1\nc2\n")
    assert changes(
        tmp_path,
        "*** Delete File: c",
        "*** Add File: hello.txt",
        "+hello",
        "*** Update File: b",
        "@@",
        "-x",
        "+y",
        "*** Update File: a",
        "*** Move to: m/n",
        "@@",
        "-1",
        "+one",
    ) == [
        ("a", "update", f"@@ -1,2 +1,2 @@\n-1\n+one\n 2\n\n\nMoved to: {tmp_path}/m/n"),
        ("b", "update", "@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+y\n"),
        ("c", "delete", "c1\nc2\n"),
        ("hello.txt", "add", "hello\n"),
    ]


def test_touched_names_both_ends_of_a_move(tmp_path):
    tmp_path.joinpath("a").write_text("1\n")
    patch = door.parse(text_of("*** Update File: a", "*** Move to: b", "@@", " 1"))
    assert door.touched(door.verify(patch, str(tmp_path))) == [f"{tmp_path}/a", f"{tmp_path}/b"]


def test_a_move_takes_mode_and_text_along(tmp_path):
    source = tmp_path / "run.sh"
    source.write_text("old\n")
    source.chmod(0o750)
    run(tmp_path, "*** Update File: run.sh", "*** Move to: bin/run", "@@", "-old", "+new")
    target = tmp_path / "bin" / "run"
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new\n", 0o750)
    assert not source.exists()


def test_a_move_to_itself_keeps_the_file(tmp_path):
    tmp_path.joinpath("a").write_text("1\n")
    run(tmp_path, "*** Update File: a", "*** Move to: ./a", "@@", "-1", "+2")
    assert tmp_path.joinpath("a").read_text() == "2\n"


def test_links_are_written_through_and_deleted_as_links(tmp_path):
    tmp_path.joinpath("real").write_text("1\n")
    tmp_path.joinpath("link").symlink_to("real")
    run(tmp_path, "*** Update File: link", "@@", "-1", "+2")
    assert tmp_path.joinpath("link").is_symlink()
    assert tmp_path.joinpath("real").read_text() == "2\n"
    run(tmp_path, "*** Delete File: link")
    assert [path.name for path in tmp_path.iterdir()] == ["real"]


def test_a_file_gives_way_to_a_folder_of_its_name(tmp_path):
    tmp_path.joinpath("a").write_text("1\n")
    run(tmp_path, "*** Delete File: a", "*** Add File: a/b", "+2")
    assert tmp_path.joinpath("a/b").read_text() == "2\n"


def test_two_names_of_one_file_in_a_patch_are_refused(tmp_path):
    tmp_path.joinpath("a").write_text("1\n")
    tmp_path.joinpath("link").symlink_to("a")
    for other in ("a", "x/../a", "link"):
        with pytest.raises(PatchVerifyError, match="invalid patch: multiple operations target"):
            run(tmp_path, "*** Update File: a", "@@", "-1", "+2", f"*** Update File: {other}", "@@", " 1")
    assert tmp_path.joinpath("a").read_text() == "1\n"


@pytest.mark.parametrize(
    ("section", "error"),
    [
        (["*** Delete File: no"], "Failed to read {}/no: No such file or directory (os error 2)"),
        (
            ["*** Update File: no", "@@", "-1"],
            "Failed to read file to update {}/no: No such file or directory (os error 2)",
        ),
        (["*** Delete File: dir"], "Failed to read {0}/dir: path `{0}/dir` is not a file"),
        (
            ["*** Update File: fifo", "@@", "-1"],
            "Failed to read file to update {0}/fifo: path `{0}/fifo` is not a file",
        ),
        (["*** Add File: dir", "+1"], "Failed to write file {0}/dir: path `{0}/dir` is not a file"),
        (
            ["*** Update File: bin", "@@", "-1"],
            "Failed to read file to update {}/bin: invalid utf-8 sequence of 1 bytes from index 4",
        ),
        (
            ["*** Update File: cut", "@@", "-1"],
            "Failed to read file to update {}/cut: incomplete utf-8 byte sequence from index 1",
        ),
    ],
)
def test_files_that_cannot_be_patched_are_named_with_the_reason(tmp_path, section, error):
    tmp_path.joinpath("dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    tmp_path.joinpath("bin").write_bytes(b"one\n\xff\n")
    tmp_path.joinpath("cut").write_bytes(b"x\xc3")
    with pytest.raises(PatchVerifyError) as caught:
        run(tmp_path, *section)
    assert str(caught.value) == error.format(tmp_path)


def test_a_write_that_fails_leaves_every_file_as_it_was_and_no_debris(tmp_path):
    (tmp_path / "file").write_text("x\n")
    (tmp_path / "gone").write_text("y\n")
    (tmp_path / "other").write_text("z\n")
    (tmp_path / "link").symlink_to("other")
    before = {path.name: (path.lstat().st_ino, path.read_text()) for path in tmp_path.iterdir()}
    with pytest.raises(PatchApplyError) as caught:
        run(
            tmp_path,
            *("*** Add File: new/deep/a", "+1", "*** Delete File: gone"),
            *("*** Update File: link", "@@", "-z", "+changed"),
            *(
                "*** Update File: file",
                "*** Move to: moved",
                "@@",
                "-x",
                "+2",
                "*** Add File: file/b/c",
                "+2",
            ),
            *("*** Add File: moved2/x", "+1", "*** Add File: new/deep/a/below", "+1"),
        )
    assert caught.value.lost == ()
    assert str(caught.value).startswith(f"Failed to write file {tmp_path}/new/deep/a/below: ")
    assert str(caught.value).endswith("\nNo file was changed.")
    assert {path.name: (path.lstat().st_ino, path.read_text()) for path in tmp_path.iterdir()} == before


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


def test_an_existing_file_is_replaced_in_one_step(tmp_path):
    file = tmp_path / "f"
    file.write_text("old\n")
    file.chmod(0o640)
    with file.open() as reader:
        run(tmp_path, "*** Add File: f", "+new")
        assert reader.read() == "old\n"
    assert file.read_text() == "new\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


# --- the program in the sandbox ------------------------------------------------------------------


def program(folder: Path, text: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    python, *rest = patch_argv()
    return subprocess.run(
        [python, *arguments, *rest],
        input=patch_input(text),
        cwd=folder,
        env={},
        capture_output=True,
        check=False,
    )


def test_the_program_applies_a_patch_from_standard_input(tmp_path):
    done = program(tmp_path, text_of("*** Add File: é.txt", "+ü").encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "Success. Updated the following files:\nA é.txt\n"
    assert tmp_path.joinpath("é.txt").read_bytes() == "ü\n".encode()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"\xff", "invalid patch: the text is not valid UTF-8\n"),
        (b"x", "invalid patch: The first line of the patch must be '*** Begin Patch'\n"),
    ],
)
def test_the_program_reports_errors_on_standard_error(tmp_path, text, error):
    done = program(tmp_path, text)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", error)


def test_the_program_imports_little_and_nothing_from_a_folder_of_ours(tmp_path):
    done = program(tmp_path, text_of("*** Add File: a", "+1").encode(), "-X", "importtime")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert {"os", "stat"} <= loaded
    dear = {"re", "typing", "collections", "dataclasses", "contextlib", "workers", "msgspec"}
    assert not {name.partition(".")[0] for name in loaded} & dear


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
