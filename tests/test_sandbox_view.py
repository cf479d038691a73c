"""From policies to paths, and from paths to mounts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.policy import ReadOnly, WorkspaceWrite
from sandbox_backends.errors import PlanError, RootReplacedError
from sandbox_backends.mounts import mounts
from sandbox_backends.own import Own
from sandbox_backends.protection import Protected, inside
from sandbox_backends.view import Mask, Root, View, pin, resolve, verify, writable

BARE = {"exclude_slash_tmp": True, "exclude_tmpdir_env_var": True}


def paths(view):
    return [root.path for root in view.roots]


def test_read_only_has_no_roots(tmp_path):
    assert resolve(ReadOnly(), str(tmp_path), {}) == View()


def test_roots_are_canonical_sorted_and_unique(tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    policy = WorkspaceWrite(writable_roots=(f"{tmp_path}/link/deep", f"{tmp_path}/real/deep/../deep"), **BARE)
    assert paths(resolve(policy, f"{tmp_path}/link", {})) == [f"{tmp_path}/real", f"{tmp_path}/real/deep"]


def test_temporary_directories_come_unless_excluded_and_have_nothing_protected(tmp_path):
    (tmp_path / "ws").mkdir()
    (tmp_path / "t").mkdir()
    env = {"TMPDIR": str(tmp_path / "t")}
    view = resolve(WorkspaceWrite(), str(tmp_path / "ws"), env)
    assert paths(view)[0] == os.path.realpath("/tmp")
    assert [root.protected for root in view.roots if root.path != str(tmp_path / "ws")] == [(), ()]
    assert paths(resolve(WorkspaceWrite(**BARE), str(tmp_path / "ws"), env)) == [str(tmp_path / "ws")]
    own = resolve(WorkspaceWrite(**BARE), str(tmp_path / "t"), env)
    assert len(own.roots[0].protected) == 3


def test_a_missing_tmpdir_is_skipped(tmp_path):
    policy = WorkspaceWrite(exclude_slash_tmp=True)
    assert paths(resolve(policy, str(tmp_path), {"TMPDIR": "/no/such"})) == [str(tmp_path)]


def test_protected_names_are_told_by_what_they_are(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".codex").write_text("")
    kinds = {
        item.via: item.kind for item in resolve(WorkspaceWrite(**BARE), str(tmp_path), {}).roots[0].protected
    }
    assert kinds == {".git": "dir", ".codex": "file", ".agents": "missing"}


def test_a_worktree_protects_its_git_directory_only_inside_the_roots(tmp_path):
    for name in ("ws/gd", "ws/common", "main/gd"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ws" / ".git").write_text("gitdir: gd\n")
    (tmp_path / "ws" / "gd" / "commondir").write_text("../common\n")
    view = resolve(WorkspaceWrite(**BARE), str(tmp_path / "ws"), {})
    found = {item.via: item.path for item in view.roots[0].protected if item.kind == "dir"}
    assert found == {"gitdir": f"{tmp_path}/ws/gd", "commondir": f"{tmp_path}/ws/common"}
    (tmp_path / "ws" / ".git").write_text(f"gitdir: {tmp_path}/main/gd\n")
    view = resolve(WorkspaceWrite(**BARE), str(tmp_path / "ws"), {})
    assert "gitdir" not in {item.via for item in view.roots[0].protected}
    assert not writable(view, f"{tmp_path}/main/gd/config")


def test_a_fifo_as_pointer_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / ".git")
    view = resolve(WorkspaceWrite(**BARE), str(tmp_path), {})
    assert Protected(f"{tmp_path}/.git", "file", ".git") in view.roots[0].protected


def test_pins_hold_the_identity(tmp_path):
    (tmp_path / "ws").mkdir()
    policy = WorkspaceWrite(**BARE)
    pins = pin(policy, str(tmp_path / "ws"), {})
    view = resolve(policy, str(tmp_path / "ws"), {}, pins=pins)
    verify(view)
    (tmp_path / "ws").rename(tmp_path / "old")
    with pytest.raises(RootReplacedError):
        verify(view)
    (tmp_path / "ws").symlink_to("old")
    with pytest.raises(RootReplacedError):
        verify(view)
    (tmp_path / "ws").unlink()
    (tmp_path / "ws").mkdir()
    with pytest.raises(RootReplacedError):
        resolve(policy, str(tmp_path / "ws"), {}, pins=pins)


def test_masks_are_only_what_is_there(tmp_path):
    (tmp_path / "auth.json").write_text("")
    masked = (str(tmp_path / "auth.json"), str(tmp_path / "none"))
    assert resolve(ReadOnly(), "/", {}, own=Own(masked=masked)).masked == (
        Mask(f"{tmp_path}/auth.json", "file"),
    )


def test_mounts_pin_every_parent_on_the_way():
    view = View(
        (
            Root("/w", 1, 1, (Protected("/w/.git", "file", ".git"), Protected("/w/a/b/gd", "dir", "gitdir"))),
            Root("/w/x/y/z", 1, 2, (Protected("/w/x/y/z/.codex", "missing", ".codex"),)),
        )
    )
    arguments, ghosts = mounts(view)
    assert ghosts == ("/w/x/y/z/.codex",)
    joined = " ".join(word for operation in arguments for word in operation)
    for parent in ("/w", "/w/a", "/w/a/b", "/w/x", "/w/x/y", "/w/x/y/z"):
        assert f"--bind {parent} {parent}" in joined
    assert "--ro-bind /w/.git /w/.git" in joined
    assert "--ro-bind /w/a/b/gd /w/a/b/gd" in joined
    assert "--perms 555 --tmpfs /w/x/y/z/.codex" in joined


def test_pinning_never_opens_what_is_protected():
    view = View((Root("/w", 1, 1, (Protected("/w/.git", "dir", ".git"),)), Root("/w/.git/a/b", 1, 2)))
    joined = " ".join(word for operation in mounts(view)[0] for word in operation)
    assert "--bind /w/.git/a /w/.git/a" not in joined
    assert "--bind /w/.git/a/b /w/.git/a/b" in joined


names = st.sampled_from(["a", "b", ".git", ".codex"])
places = st.lists(names, max_size=4).map("/".join)


@given(made=st.lists(places, max_size=6), roots=st.lists(places, max_size=4))
def test_any_layout_gives_a_sound_view(made, roots):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        top = os.path.realpath(folder)
        for place in (*made, *roots):
            os.makedirs(os.path.join(top, place), exist_ok=True)
        policy = WorkspaceWrite(writable_roots=tuple(os.path.join(top, place) for place in roots), **BARE)
        view = resolve(policy, top, {})
        verify(view)
        found = paths(view)
        assert found == sorted(found, key=lambda path: (path.count("/"), path))
        assert "/" not in found
        for root in view.roots:
            assert os.path.realpath(root.path) == root.path
            for item in root.protected:
                assert any(inside(item.path, path) for path in found)
                assert item.path in found or not writable(view, item.path)
        arguments = [word for operation in mounts(view)[0] for word in operation]
        targets = [arguments[n + 2] for n, word in enumerate(arguments) if word in ("--bind", "--ro-bind")]
        targets += [arguments[n + 1] for n, word in enumerate(arguments) if word == "--tmpfs"]
        assert len(targets) == len(set(targets))
        seen = [
            arguments[n + 1] for n, word in enumerate(arguments) if word in ("--bind", "--ro-bind", "--tmpfs")
        ]
        assert [path.count("/") for path in seen] == sorted(path.count("/") for path in seen)


ENTRIES = st.sampled_from(["dir", "file", "link", "pointer", "none"])


@given(
    git=ENTRIES,
    codex=ENTRIES,
    nested=st.booleans(),
    roots=st.lists(st.sampled_from(["ws", "ws/sub", "ws/.git", "other", "ws/deep/gd"]), max_size=3),
)
def test_whatever_lies_in_a_root_its_protected_paths_are_not_writable(
    tmp_path_factory, git, codex, nested, roots
):
    top = Path(os.path.realpath(tmp_path_factory.mktemp("view")))
    for folder in ("ws/sub", "ws/deep/gd/hooks", "other"):
        (top / folder).mkdir(parents=True)
    for name, kind in ((".git", git), (".codex", codex)):
        entry = top / "ws" / name
        if kind == "dir":
            (entry / "hooks").mkdir(parents=True)
        elif kind == "file":
            entry.write_text("x")
        elif kind == "link":
            entry.symlink_to("deep")
        elif kind == "pointer":
            entry.write_text("gitdir: deep/gd\n")
    if nested:
        (top / "ws/sub/.git").mkdir()
    named = {str(top / root) for root in roots}
    policy = WorkspaceWrite(
        writable_roots=tuple(sorted(named)), exclude_slash_tmp=True, exclude_tmpdir_env_var=True
    )
    try:
        seen = resolve(policy, str(top / "ws"), {})
    except PlanError:
        return
    assert writable(seen, str(top / "ws" / "new"))
    for name in (".git", ".codex", ".agents"):
        path = str(top / "ws" / name)
        # Only a root that the policy names outright, or one below it, opens a protected path.
        if path not in named:
            assert not writable(seen, path)
            assert not writable(seen, f"{path}/hooks/pre-commit")
    if git == "pointer" and str(top / "ws/deep/gd") not in named:
        assert not writable(seen, str(top / "ws/deep/gd/hooks/pre-commit"))
    assert not writable(seen, str(top / "elsewhere"))


def test_what_a_repositorys_configuration_includes_is_protected(tmp_path):
    (tmp_path / "ws" / ".git").mkdir(parents=True)
    (tmp_path / "ws" / "conf").mkdir()
    for name in ("shared", "conf/other", "bystander"):
        (tmp_path / "ws" / name).write_text("")
    (tmp_path / "outside").write_text("")
    (tmp_path / "ws" / ".git" / "config").write_text(
        "[core]\n\tbare = false\n[Include]\n\tpath = ../shared\n\tpath = ../missing\n\tpath = ../../outside\n"
        f'[includeIf "gitdir:{tmp_path}/"]\n  path = "{tmp_path}/ws/conf/other"\n[include] path = ~/.more\n'
    )
    policy = WorkspaceWrite(exclude_slash_tmp=True, exclude_tmpdir_env_var=True)
    [root] = resolve(policy, str(tmp_path / "ws"), {}).roots
    found = {item.path for item in root.protected if item.via == "include"}
    assert found == {f"{tmp_path}/ws/shared", f"{tmp_path}/ws/conf/other"}
    assert not writable(View((root,)), f"{tmp_path}/ws/shared")
    assert writable(View((root,)), f"{tmp_path}/ws/bystander")
