"""The repository that a thread began in, read without running git, against what git says itself."""

from __future__ import annotations

import os
import subprocess

import pytest

from rollouts.git_facts import git_facts

URL = "https://example.com/repo.git"


def git(folder, *arguments):
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    run = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "-q", "-b", "feature/one")
    git(place, "commit", "-q", "--allow-empty", "-m", "first")
    git(place, "remote", "add", "origin", URL)
    return place


def facts_of(place, branch="feature/one"):
    known = {"commit_hash": git(place, "rev-parse", "HEAD"), "branch": branch, "repository_url": URL}
    return {key: value for key, value in known.items() if value is not None}


def test_branch_commit_and_origin_from_any_folder_below(repository):
    inner = repository / "a" / "b"
    inner.mkdir(parents=True)
    assert git_facts(str(inner)) == facts_of(repository)


def test_packed_branches_detached_heads_and_worktrees(repository, tmp_path):
    git(repository, "pack-refs", "--all")
    assert git_facts(str(repository)) == facts_of(repository)
    other = tmp_path / "other"
    git(repository, "worktree", "add", "-q", "-b", "second", str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "second")
    assert git_facts(str(other)) == facts_of(other, "second")
    git(other, "checkout", "-q", "--detach")
    assert git_facts(str(other)) == facts_of(other, None)


def test_what_is_no_repository_or_a_broken_one(tmp_path):
    assert git_facts(str(tmp_path / "missing")) is None
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_bytes(b"ref: ../../etc/passwd\xff")
    assert git_facts(str(tmp_path)) == {}
    os.mkfifo(tmp_path / ".git" / "config")
    assert git_facts(str(tmp_path)) == {}


def test_clients_see_it_from_the_first_turn_on(server, workspace):
    git(workspace, "init", "-q", "-b", "main")
    git(workspace, "commit", "-q", "--allow-empty", "-m", "first")
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say a")
    expected = {"sha": git(workspace, "rev-parse", "HEAD"), "branch": "main", "originUrl": None}
    assert client.request("thread/read", {"threadId": thread})["thread"]["gitInfo"] == expected
    assert client.request("thread/list", {})["data"][0]["gitInfo"] == expected
