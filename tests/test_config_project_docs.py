"""The cases here were tried on Codex 0.169, which answered the same sources."""

from __future__ import annotations

import os

import pytest

from config.project_docs import ProjectDocs, load_project_docs


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    (root / "a/b/c").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "AGENTS.md").write_text("root")
    (root / "a/AGENTS.md").write_text("a")
    (root / "a/AGENTS.override.md").write_text("aover")
    (root / "a/b/FALL.md").write_text("fb")
    (root / "a/b/c/AGENTS.md").write_text("c")
    (tmp_path / "AGENTS.md").write_text("outside")
    return root


def sources(home, cwd, **options):
    docs = load_project_docs(str(home), str(cwd), **{"max_bytes": 32768, **options})
    return [os.path.relpath(path, home.parent) for path in docs.sources]


def test_nothing_is_nothing(home, tmp_path):
    docs = load_project_docs(str(home), str(tmp_path / "does/not/exist"), max_bytes=9)
    assert docs == ProjectDocs("", ())


def test_from_the_home_over_the_root_down_to_the_cwd(home, project):
    (home / "AGENTS.md").write_text("home")
    docs = load_project_docs(str(home), str(project / "a/b/c"), max_bytes=32768)
    assert docs.sources == tuple(
        str(p)
        for p in (
            home / "AGENTS.md",
            project / "AGENTS.md",
            project / "a/AGENTS.override.md",
            project / "a/b/c/AGENTS.md",
        )
    )
    assert docs.text == "home\n\n--- project-doc ---\n\nroot\n\naover\n\nc"


def test_fallback_names_come_last_and_stay_in_their_folder(home, project):
    names = ["", "../AGENTS.md", "FALL.md"]
    assert sources(home, project / "a/b", fallback_names=names) == [
        "project/AGENTS.md",
        "project/a/AGENTS.override.md",
        "project/a/b/FALL.md",
    ]


def test_only_the_cwd_counts_without_a_root(home, project):
    cwd = project / "a/b/c"
    assert sources(home, cwd, root_markers=[]) == ["project/a/b/c/AGENTS.md"]
    assert sources(home, cwd, root_markers=["nothing has this name"]) == ["project/a/b/c/AGENTS.md"]
    (project / "a/b/marker").write_text("")
    assert sources(home, cwd, root_markers=["marker"]) == ["project/a/b/c/AGENTS.md"]


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (0, "home"),
        (4, "home|root"),
        (5, "home|root\n\na"),
        (10, "home|root\n\naover\n\nc"),
        (9, "home|root\n\naover"),
    ],
)
def test_the_limit_is_for_the_project_as_a_whole(home, project, limit, text):
    (home / "AGENTS.md").write_text("home")
    docs = load_project_docs(str(home), str(project / "a/b/c"), max_bytes=limit)
    assert docs.text == text.replace("|", "\n\n--- project-doc ---\n\n")


def test_a_blank_file_of_the_home_counts_as_absent(home, project):
    (home / "AGENTS.override.md").write_text("  \n")
    assert sources(home, project) == ["project/AGENTS.md"]
    (home / "AGENTS.md").write_text("home")
    assert sources(home, project) == ["home/AGENTS.md", "project/AGENTS.md"]


def test_a_blank_file_of_a_project_hides_the_next_name(home, project):
    (project / "AGENTS.md").write_text(" \n")
    (project / "a/AGENTS.override.md").write_text("")
    assert sources(home, project / "a/b/c") == ["project/a/b/c/AGENTS.md"]


def test_links_and_odd_files(home, project):
    (project / "link").symlink_to(project / "a/b/c")
    assert sources(home, project / "link") == ["project/AGENTS.md", "project/link/AGENTS.md"]
    (project / "a/AGENTS.override.md").unlink()
    (project / "a/AGENTS.md").unlink()
    (project / "a/AGENTS.md").symlink_to(project / "AGENTS.md")
    assert sources(home, project / "a") == ["project/AGENTS.md", "project/a/AGENTS.md"]
    (project / "a/AGENTS.md").unlink()
    os.mkfifo(project / "a/AGENTS.md")
    assert sources(home, project / "a") == ["project/AGENTS.md"]
    (project / "AGENTS.md").write_bytes(b"\xff bad")
    assert load_project_docs(str(home), str(project), max_bytes=99).text == "� bad"
