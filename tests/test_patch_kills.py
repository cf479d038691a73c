"""The patch program, killed after every system call that changes something: afterwards all files are changed, or none."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.tools import patch as door
from workers.tools.patch_main import APPLIED, BUSY, LOST
from workers.tools.patch_program import patch_argv, patch_input, undo_input
from workers.tools.patch_undo import Bench, undo_dead

if sys.platform != "linux":
    pytest.skip("system calls are traced as Linux does", allow_module_level=True)

LIBC = ctypes.CDLL(None, use_errno=True)
TRACEME, SYSCALL = 0, 24
TOKEN = "feedface"
PATCH = """\
*** Begin Patch
*** Update File: one
@@
-1
+first
*** Add File: new/deep/two
+2
*** Delete File: three
*** Update File: four
*** Move to: sub/four
@@
-4
+fourth
*** Add File: three/below
+3
*** Delete File: link
*** Update File: sub/five
@@
-5
+fifth
*** End Patch
"""


def make(folder: Path) -> None:
    (folder / "sub").mkdir()
    for name, text in (("one", "1\n"), ("three", "3\n"), ("four", "4\n"), ("sub/five", "5\n")):
        (folder / name).write_text(text)
    (folder / "one").chmod(0o755)
    (folder / "link").symlink_to("one")


def picture(folder: Path) -> dict[str, tuple[int, str]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        link = os.readlink(path) if path.is_symlink() else ""
        text = path.read_text() if path.is_file() and not link else link
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, text)
    return found


def steps_of(folder: Path, text: str = PATCH):
    return door.steps(door.verify(door.parse(text), str(folder)))


def traced(folder: Path, ending: int, seen=lambda: None) -> tuple[int, bool]:
    """Apply PATCH, killed when it enters or leaves its system call `ending`; how many it came to, and whether it was killed.

    `seen` is asked at each.
    """
    with tempfile.TemporaryFile() as orders:
        # Not by a pipe, for which a stopped program would have to make room.
        orders.write(patch_input(PATCH, TOKEN, steps_of(folder)))
        orders.seek(0)
        program = subprocess.Popen(
            patch_argv(),
            cwd=folder,
            env={},
            stdin=orders,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: LIBC.ptrace(TRACEME, 0, None, None),  # noqa: PLW1509 - there are no threads
        )
    with program:
        os.waitpid(program.pid, 0)  # it has been executed
        count = 0
        while True:
            LIBC.ptrace(SYSCALL, program.pid, None, None)
            _, status = os.waitpid(program.pid, 0)
            if not os.WIFSTOPPED(status):
                program.returncode = os.waitstatus_to_exitcode(status)
                return count, program.returncode < 0
            count += 1
            seen()
            if count == ending:
                program.kill()


def calls_that_matter(folder: Path) -> list[int]:
    """Those after which something is different on disk: between two of them it does not matter when the end comes."""
    last, count = picture(folder), 0
    found = [1]

    def seen() -> None:
        nonlocal last, count
        count += 1
        if (now := picture(folder)) != last:
            found.append(count)
            last = now

    _, killed = traced(folder, 0, seen)
    assert not killed
    return found


def test_a_kill_after_any_system_call_leaves_all_files_changed_or_none(tmp_path):
    reference = tmp_path / "reference"
    reference.mkdir()
    make(reference)
    before = picture(reference)
    calls = calls_that_matter(reference)
    after = picture(reference)
    assert after != before
    outcomes = set()
    for ending in calls:
        folder = tmp_path / str(ending)
        folder.mkdir()
        make(folder)
        steps = steps_of(folder)
        _, killed = traced(folder, ending)
        half = picture(folder)
        applied, lost = undo_dead(TOKEN, steps)
        assert lost == ()
        assert picture(folder) == (after if applied else before), (ending, half)
        outcomes.add((killed, applied, half in (before, after)))
        # It can be said again, and changes nothing.
        undo_dead(TOKEN, steps)
        assert picture(folder) == (after if applied else before)
    assert {(True, False, False), (True, True, False), (True, True, True)} <= outcomes


def test_putting_back_can_be_killed_too(tmp_path):
    make(tmp_path)
    before, steps = picture(tmp_path), steps_of(tmp_path)
    door.apply(door.verify(door.parse(PATCH), str(tmp_path)))
    after = picture(tmp_path)
    assert after != before
    for count in range(1, 12):
        folder = tmp_path / f"try{count}"
        folder.mkdir()
        make(folder)
        steps = steps_of(folder)
        stopped_before_its_mark_goes(folder, steps)
        interrupted(steps, count)
        applied, lost = undo_dead(TOKEN, steps)
        assert (applied, lost) == (False, ())
        assert picture(folder) == before


def stopped_before_its_mark_goes(folder, steps):
    """All steps are done and the mark is still there: the most that there can be to put back."""
    program = f"""
import os, signal, sys
def hook(event, arguments):
    if event == "os.remove" and arguments[0] == ".patch-{TOKEN}":
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
"""
    argv = patch_argv()
    at = argv.index("-c") + 1
    argv[at] = program + argv[at]
    done = subprocess.run(
        argv, cwd=folder, env={}, input=patch_input(PATCH, TOKEN, steps), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def interrupted(steps, count):
    """Begin to put back, as a program that is killed at its change number `count`."""
    program = f"""
import os, signal, sys
left = {count}
def hook(event, arguments):
    global left
    if event in ("os.remove", "os.rename", "os.rmdir"):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
"""
    argv = patch_argv()
    at = argv.index("-c") + 1
    argv[at] = program + argv[at]
    done = subprocess.run(argv, env={}, input=undo_input(TOKEN, steps), capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_what_somebody_else_wrote_meanwhile_stays_and_is_told(tmp_path):
    make(tmp_path)
    before, steps = picture(tmp_path), steps_of(tmp_path)
    stopped_before_its_mark_goes(tmp_path, steps)
    (tmp_path / "one").write_text("theirs")
    (tmp_path / "three" / "mine").write_text("theirs")
    done = subprocess.run(
        patch_argv(), env={}, input=undo_input(TOKEN, steps), capture_output=True, check=False
    )
    assert done.returncode == LOST
    assert done.stderr.decode().splitlines() == [str(tmp_path / "three"), str(tmp_path / "one")]
    assert (tmp_path / "one").read_text() == "theirs"
    assert (tmp_path / "three" / "mine").read_text() == "theirs"
    assert not list(tmp_path.rglob(".patch-*"))
    changed = {name for name, value in picture(tmp_path).items() if before.get(name) != value}
    assert changed == {"one", "three", "three/mine"}


def test_links_that_were_put_in_the_way_lead_nowhere(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    make(inside)
    outside.mkdir()
    (outside / "five").write_text("fifth\n")
    (outside / "four").write_text("fourth\n")
    steps = steps_of(inside)
    stopped_before_its_mark_goes(inside, steps)
    (inside / "sub").rename(inside / "elsewhere")
    (inside / "sub").symlink_to(outside)
    _, lost = undo_dead(TOKEN, steps)
    assert str(inside / "sub" / "five") in lost
    assert (outside / "five").read_text() == "fifth\n"
    assert (outside / "four").read_text() == "fourth\n"
    assert sorted(os.listdir(outside)) == ["five", "four"]
    # And before: a folder that becomes a link between the look and the deed.
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    make(fresh)
    verified = door.verify(door.parse(PATCH), str(fresh))
    noted = door.steps(verified)
    kept = (fresh / "sub").rename(fresh / "elsewhere")
    (fresh / "sub").symlink_to(outside)
    with pytest.raises(door.PatchApplyError):
        door.apply(verified, TOKEN, noted)
    assert (outside / "five").read_text() == "fifth\n"
    assert (kept / "five").read_text() == "5\n"


def test_as_long_as_the_program_lives_nothing_is_put_back(tmp_path):
    make(tmp_path)
    steps = steps_of(tmp_path)
    stopped_before_its_mark_goes(tmp_path, steps)
    half = picture(tmp_path)
    holder = "import fcntl,sys;f=open(sys.argv[1]);fcntl.flock(f,2);print(flush=True);sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / Bench(TOKEN).mark)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as alive:
        alive.stdout.readline()
        done = subprocess.run(patch_argv(), env={}, input=undo_input(TOKEN, steps), check=False)
        assert done.returncode == BUSY
        assert picture(tmp_path) == half
        alive.stdin.close()
    done = subprocess.run(patch_argv(), env={}, input=undo_input(TOKEN, steps), check=False)
    assert done.returncode == 0


def test_a_patch_that_was_applied_is_told_as_that(tmp_path):
    make(tmp_path)
    steps = steps_of(tmp_path)
    door.apply(door.verify(door.parse(PATCH), str(tmp_path)), TOKEN, steps)
    done = subprocess.run(patch_argv(), env={}, input=undo_input(TOKEN, steps), check=False)
    assert done.returncode == APPLIED


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_file_that_was_changed_since_it_was_looked_at_is_not_overwritten(tmp_path, name):
    make(tmp_path)
    verified = door.verify(door.parse(PATCH), str(tmp_path))
    (tmp_path / name).write_text("theirs")
    before = picture(tmp_path)
    with pytest.raises(door.PatchApplyError, match=f"{name}: the file was changed meanwhile"):
        door.apply(verified)
    assert picture(tmp_path) == before


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path):
    make(tmp_path)
    verified = door.verify(door.parse(PATCH), str(tmp_path))
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "deep" / "two").write_text("theirs")
    before = picture(tmp_path)
    with pytest.raises(door.PatchApplyError, match="File exists"):
        door.apply(verified)
    assert {name: value for name, value in picture(tmp_path).items() if value != before.get(name)} == {}


NAMES = ("a", "b", "d/c", "d/e/f")
VERBS = st.sampled_from(("add", "update", "delete", "move"))


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.sampled_from(NAMES)),
    st.lists(st.tuples(VERBS, st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1, max_size=4),
    st.integers(1, 40),
)
def test_any_patch_killed_at_any_change_is_whole_afterwards(tmp_path_factory, there, sections, ending):
    folder = tmp_path_factory.mktemp("any")
    for name in there:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    lines = ["*** Begin Patch"]
    for verb, name, other in sections:
        if verb == "add":
            lines += [f"*** Add File: {name}", "+new"]
        elif verb == "delete":
            lines.append(f"*** Delete File: {name}")
        else:
            lines.append(f"*** Update File: {name}")
            lines += [f"*** Move to: {other}"] if verb == "move" else []
            lines += ["@@", f"-{name}", "+changed"]
    text = "\n".join([*lines, "*** End Patch\n"])
    before = picture(folder)
    try:
        verified = door.verify(door.parse(text), str(folder))
    except door.PatchError:
        return
    steps = door.steps(verified)
    child = os.fork()
    if not child:
        left = ending

        def hook(event: str, arguments: object) -> None:
            nonlocal left
            if event in ("os.mkdir", "os.link", "os.rename", "os.remove", "open", "os.chmod"):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            door.apply(verified, TOKEN, steps)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    applied, lost = undo_dead(TOKEN, steps)
    assert lost == ()
    assert not list(folder.rglob(".patch-*"))
    if not applied:
        assert picture(folder) == before
    else:
        for change in verified.changes:
            target = Path(change.move_path or change.path)
            assert change.new is None or target.read_bytes() == change.new
