"""Odd places as roots, and repositories in every form: what a command may write there, in both Linux backends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from protocol.policy import WorkspaceWrite
from sandbox_backends import default_registry, plan, run_with_plan
from sandbox_backends.errors import RootReplacedError

pytestmark = pytest.mark.usefixtures("subreaper")

if sys.platform != "linux":
    pytest.skip("the Linux backends", allow_module_level=True)

MANY = 200
"""Writable roots; a client names them one by one."""
DEEP = 60


@pytest.fixture(params=["linux-bwrap", "linux-landlock"])
def backend(request):
    registry = default_registry().only(request.param)
    if not registry.capability(request.param).ok:
        pytest.skip(registry.capability(request.param).reason)
    return registry


def planned(backend, workspace, script, *roots):
    policy = WorkspaceWrite(writable_roots=roots, exclude_slash_tmp=True, exclude_tmpdir_env_var=True)
    return plan(
        ["/bin/sh", "-c", script],
        cwd=str(workspace),
        policy=policy,
        env={"PATH": os.environ["PATH"]},
        timeout_ms=30_000,
        registry=backend,
    )


def finished(made):
    async def main():
        command = await run_with_plan(made)
        return await command.wait()

    return asyncio.run(main())


def run(backend, workspace, script, *roots):
    return finished(planned(backend, workspace, script, *roots))


@pytest.mark.parametrize(
    "name", [b"two\nlines", b"not \xff\xfe utf-8", b"--bind", b"*?[x] $HOME 'quo\"ted\\", b"x" * 255]
)
def test_any_name_can_be_a_workspace(backend, tmp_path, name):
    workspace = tmp_path / os.fsdecode(name)
    workspace.mkdir()
    result = run(backend, workspace, "echo in > in; echo out > ../out")
    assert result.setup_failed is None
    assert (workspace / "in").read_text() == "in\n"
    assert [path.name for path in tmp_path.iterdir()] == [workspace.name]
    assert os.listdir(workspace) == ["in"]


def test_many_roots_and_a_deep_one_are_all_writable_and_nothing_between(backend, tmp_path):
    roots = [tmp_path / str(number) / "root" for number in range(MANY)]
    roots.append(tmp_path.joinpath("deep", *["level"] * DEEP))
    for root in roots:
        root.mkdir(parents=True)
    script = f"cd {tmp_path} && for root in */root deep{'/level' * DEEP}; do echo x > $root/f; echo x > $root/../f; done"
    result = run(backend, roots[0], script, *map(str, roots[1:]))
    assert result.setup_failed is None
    assert all((root / "f").exists() for root in roots)
    assert not any((root.parent / "f").exists() for root in roots)
    assert not any((root / ".git").exists() for root in roots)


@pytest.mark.parametrize("what", ["a link to it", "a link elsewhere", "a new folder"])
def test_a_workspace_that_is_another_one_when_its_command_starts_is_refused(backend, tmp_path, what):
    workspace, outside = tmp_path / "ws", tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    made = planned(backend, workspace, "echo x > f")
    workspace.rename(tmp_path / "moved")
    if what == "a new folder":
        workspace.mkdir()
    else:
        workspace.symlink_to(outside if what == "a link elsewhere" else tmp_path / "moved")
    with pytest.raises(RootReplacedError):
        finished(made)
    assert not list(tmp_path.rglob("f"))


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_worktrees_and_submodules_keep_their_hooks_and_configuration(backend, tmp_path):
    """Wherever the repository of a folder lies inside the workspace, and by whatever it is found."""
    workspace, library = tmp_path / "ws", tmp_path / "library"
    for folder in (workspace, library):
        folder.mkdir()
        git(folder, "init", "-q")
        git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    git(workspace, "submodule", "add", "-q", str(library), "module")
    git(workspace, "worktree", "add", "-q", "tree")
    paths = (
        ".git/hooks/post-checkout",
        ".git/config.worktree",
        ".git/modules/module/hooks/post-checkout",
        ".git/modules/module/config",
        ".git/worktrees/tree/config.worktree",
        ".git/info/attributes",
    )
    script = "; ".join(f"echo evil >> {path}" for path in paths)
    before = (workspace / ".git" / "modules" / "module" / "config").read_text()
    run(backend, workspace, script)
    assert "evil" not in before
    found = [
        path for path in paths if (workspace / path).exists() and "evil" in (workspace / path).read_text()
    ]
    assert found == []
    # Nor by a folder that is put in the place of theirs, or a link that leads out.
    outside = tmp_path / "outside"
    (outside / "hooks").mkdir(parents=True)
    moved = "mv .git/modules/module .git/modules/old; "
    run(
        backend,
        workspace,
        f"{moved} mkdir -p .git/modules/module/hooks; echo evil > .git/modules/module/hooks/x",
    )
    run(backend, workspace, f"{moved} ln -s {outside} .git/modules/module")
    assert sorted(path.name for path in outside.rglob("*")) == ["hooks"]
    assert not (workspace / ".git" / "modules" / "module").is_symlink()
    assert "x" not in os.listdir(workspace / ".git" / "modules" / "module" / "hooks")
    assert (workspace / ".git" / "modules" / "module" / "config").read_text() == before
    # And where only the worktree is the workspace, nothing of the repository is in it.
    run(backend, workspace / "tree", "echo evil >> ../.git/config; echo evil > .git")
    assert "evil" not in (workspace / ".git" / "config").read_text()
    assert (workspace / "tree" / ".git").read_text().startswith("gitdir: ")
