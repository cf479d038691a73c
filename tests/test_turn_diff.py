from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.tools import hunks, patch
from workers.tools.turn_diff import TurnDiff

RECORDING = (
    Path(__file__).resolve().parents[2] / "shared" / "protocol" / "traces-0.169" / "08-patch-auto.jsonl"
)
git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def tmp_path(tmp_path):
    """The root of a work tree of its own: there the paths of a diff begin, whatever repository is around."""
    tmp_path.joinpath(".git").mkdir()
    return tmp_path


def apply(turn: TurnDiff, folder: Path, *lines: str) -> None:
    text = "\n".join(["*** Begin Patch", *lines, "*** End Patch"])
    verified = patch.verify(patch.parse(text), str(folder))
    patch.apply(verified)
    turn.record(verified)


@pytest.mark.skipif(not RECORDING.exists(), reason="the recordings of the peer are not beside the project")
def test_the_recorded_turns_give_the_recorded_diffs(tmp_path):
    messages = [json.loads(line)["msg"] for line in RECORDING.read_text().splitlines() if '"msg"' in line]
    diffs = [m["params"]["diff"] for m in messages if m.get("method") == "turn/diff/updated"]
    first, second = TurnDiff(str(tmp_path)), TurnDiff(str(tmp_path))
    apply(first, tmp_path, "*** Add File: hello.txt", "+hello", "+world")
    apply(second, tmp_path, "*** Update File: hello.txt", "@@", " hello", "-world", "+planet")
    assert list(dict.fromkeys(diffs)) == [first.render(), second.render()]


def test_patches_of_a_turn_are_shown_as_one_change(tmp_path):
    tmp_path.joinpath("a.txt").write_text("one\ntwo\nthree\nfour\n")
    tmp_path.joinpath("c.txt").write_text("c1\nc2\n")
    turn = TurnDiff(str(tmp_path))
    apply(turn, tmp_path, "*** Update File: a.txt", "*** Move to: m.txt", "@@", "-one", "+1")
    apply(turn, tmp_path, "*** Update File: m.txt", "*** Move to: z.txt", "@@", "-four", "+4")
    apply(turn, tmp_path, "*** Delete File: c.txt", "*** Add File: empty", "*** Add File: t", "+1")
    apply(turn, tmp_path, "*** Delete File: t")
    assert turn.render() == (
        "diff --git a/a.txt b/z.txt\n"
        "index f384549cbeb481e437091320de6d1f2e15e11b4a..43b319f48e0cea6f74abdd6c9dd15bd8e18b68ba\n"
        "--- a/a.txt\n+++ b/z.txt\n@@ -1,4 +1,4 @@\n-one\n+1\n two\n three\n-four\n+4\n"
        "diff --git a/c.txt b/c.txt\ndeleted file mode 100644\n"
        "index d0aaf976aff18cfd95e5d6b20de694185239a40d..0000000000000000000000000000000000000000\n"
        "--- a/c.txt\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-c1\n-c2\n"
        "diff --git a/empty b/empty\nnew file mode 100644\n"
        "index 0000000000000000000000000000000000000000..e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n"
    )


def test_a_turn_that_takes_everything_back_shows_nothing(tmp_path):
    tmp_path.joinpath("a").write_text("1\n")
    turn = TurnDiff(str(tmp_path))
    apply(turn, tmp_path, "*** Update File: a", "*** Move to: b", "@@", "-1", "+2")
    assert turn.render()
    apply(turn, tmp_path, "*** Update File: b", "*** Move to: a", "@@", "-2", "+1")
    assert turn.render() == ""


def test_a_move_over_a_file_is_a_deletion_and_a_change(tmp_path):
    tmp_path.joinpath("a").write_text("1\n")
    tmp_path.joinpath("b").write_text("old\n")
    turn = TurnDiff(str(tmp_path))
    apply(turn, tmp_path, "*** Update File: a", "*** Move to: b", "@@", " 1")
    shown = turn.render()
    assert "diff --git a/a b/a\ndeleted file mode 100644\n" in shown
    assert "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-old\n+1\n" in shown


def test_a_file_patched_through_a_link_is_shown_once_under_its_own_name(tmp_path):
    real = tmp_path / "real"
    real.joinpath(".git").mkdir(parents=True)
    real.joinpath("f").write_text("1\n")
    real.joinpath("g").symlink_to("f")
    tmp_path.joinpath("alias").symlink_to("real")
    turn = TurnDiff(str(tmp_path / "alias"))
    apply(turn, tmp_path / "alias", "*** Update File: g", "@@", "-1", "+2")
    apply(turn, tmp_path / "real", "*** Update File: f", "@@", "-2", "+3")
    assert turn.render().startswith("diff --git a/f b/f\n")
    assert turn.render().endswith("@@ -1 +1 @@\n-1\n+3\n")


def test_a_pure_move_is_shown_as_a_rename(tmp_path):
    tmp_path.joinpath("a").write_text("1\n")
    turn = TurnDiff(str(tmp_path))
    apply(turn, tmp_path, "*** Update File: a", "*** Move to: b", "@@", " 1")
    assert turn.render() == ("diff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\n")


def test_modes_binary_files_links_and_missing_line_ends(tmp_path):
    tmp_path.joinpath("run").write_text("1\n")
    tmp_path.joinpath("run").chmod(0o755)
    tmp_path.joinpath("bin").write_bytes(b"\0\1")
    tmp_path.joinpath("link").symlink_to("run")
    tmp_path.joinpath("cut").write_text("x")
    turn = TurnDiff(str(tmp_path))
    apply(
        turn,
        tmp_path,
        "*** Delete File: run",
        "*** Delete File: bin",
        "*** Update File: cut",
        "@@",
        "-x",
        "+y",
    )
    apply(turn, tmp_path, "*** Delete File: link", "*** Add File: run", "+1")
    shown = turn.render()
    assert "diff --git a/run b/run\nold mode 100755\nnew mode 100644\n" in shown
    assert "Binary files a/bin and /dev/null differ\n" in shown
    assert "deleted file mode 120000\n" in shown
    assert "-run\n\\ No newline at end of file\n" in shown
    assert "@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+y\n" in shown


def test_paths_start_at_the_work_tree_and_are_absolute_outside(tmp_path):
    tree = tmp_path / "tree"
    tree.joinpath(".git").mkdir(parents=True)
    inner = tree / "inner"
    inner.mkdir()
    turn = TurnDiff(str(inner))
    apply(turn, inner, "*** Add File: f", "+1", "*** Add File: ../../out", "+2")
    assert "diff --git a/inner/f b/inner/f\n" in turn.render()
    assert f"diff --git a/{tmp_path}/out b/{tmp_path}/out\n" in turn.render()


def test_a_huge_file_is_named_and_not_shown(tmp_path):
    tmp_path.joinpath("big").write_text("x" * 3_000_000 + "\n")
    turn = TurnDiff(str(tmp_path))
    apply(turn, tmp_path, "*** Update File: big", "@@", "+end")
    assert turn.render().endswith("\nFiles a/big and b/big differ: too large to show\n")


def test_texts_too_different_to_compare_are_replaced_and_say_so():
    old = "same\n" + "".join(f"{n}\n" for n in range(20_000)) + "end\n"
    new = "same\n" + "".join(f"{n}\n" for n in reversed(range(20_000))) + "end\n"
    shown = hunks.unified(old, new, 1)
    assert shown.startswith(f"@@ -1,20002 +1,20002 @@{hunks.COARSE}\n same\n-0\n")
    assert shown.endswith("+0\n end\n")
    assert shown.count("@@") == 2


def test_few_changes_in_a_large_file_are_found_exactly():
    old = [f"{n % 7}\n" for n in range(50_000)]
    new = ["first\n", *old[:25_000], "middle\n", *old[25_001:], "last\n"]
    shown = hunks.unified("".join(old), "".join(new), 0)
    assert shown == (
        f"@@ -0,0 +1 @@\n+first\n@@ -25001 +25002 @@\n-{old[25_000]}+middle\n@@ -50000,0 +50002 @@\n+last\n"
    )


TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "é\r\n"]), max_size=30).map("".join)


@git
@given(TEXTS, TEXTS, st.booleans(), st.booleans())
def test_git_applies_the_diff_to_the_old_text(tmp_path_factory, old, new, old_cut, new_cut):
    old, new = (old.removesuffix("\n") if old_cut else old), (new.removesuffix("\n") if new_cut else new)
    shown = hunks.unified(old, new, 3)
    assert bool(shown) == (old != new)
    if old == new or not old or not new:
        return
    folder = tmp_path_factory.mktemp("git")
    folder.joinpath("f").write_bytes(old.encode())
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"],
        input=f"diff --git a/f b/f\n--- a/f\n+++ b/f\n{shown}".encode(),
        cwd=folder,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        check=True,
    )
    assert folder.joinpath("f").read_bytes() == new.encode()


@given(TEXTS, TEXTS)
def test_the_edit_is_as_short_as_can_be(old, new):
    a, b = old.splitlines(keepends=True), new.splitlines(keepends=True)
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for x in reversed(range(len(a))):
        for y in reversed(range(len(b))):
            best[x][y] = 1 + best[x + 1][y + 1] if a[x] == b[y] else max(best[x + 1][y], best[x][y + 1])
    changed = [line for line in hunks.unified(old, new, 3).split("\n") if line.startswith(("+", "-"))]
    assert len(changed) == len(a) + len(b) - 2 * best[0][0]
