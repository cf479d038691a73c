"""What a patch does to files: summaries, moves, links, failures."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from patch_texts import run, text_of

from workers.tools import patch as door
from workers.tools.patch import PatchApplyError, PatchVerifyError


def changes(folder: Path, *lines: str) -> list[tuple[str, str, str]]:
    verified = door.verify(door.parse(text_of(*lines)), str(folder))
    return [
        (os.path.relpath(change.path, folder), change.kind.__struct_config__.tag, change.diff)
        for change in door.wire_changes(verified)
    ]


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
