"""Whether the user trusts a folder: `[projects."/path"] trust_level`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from config.project_docs import folders_to_root
from config.settings import Project

__all__ = ["TrustLevel", "trust_of"]

TrustLevel = Literal["trusted", "untrusted"]

GIT = ".git"
# A .git file is one line; a worktree's points into the main checkout.
GIT_FILE_MAX_BYTES = 4096


def trust_of(cwd: str, projects: Mapping[str, Project]) -> TrustLevel | None:
    """The level of `cwd` itself, else of the root of its git checkout; None if nobody has said.

    A parent that is no git root says nothing about `cwd`. A worktree counts as its main checkout.
    """
    candidates = [cwd]
    root = folders_to_root(cwd, (GIT,))[-1]
    if os.path.lexists(os.path.join(root, GIT)):
        candidates += [root, _main_checkout(root)]
    for folder in candidates:
        for spelling in (folder, os.path.realpath(folder)):
            project = projects.get(spelling)
            if project is not None and project.trust_level is not None:
                return project.trust_level
    return None


def _main_checkout(root: str) -> str:
    """The main checkout of a worktree, `root` itself if it is none.

    The link must be mutual: anyone can put a .git file into a folder that names a trusted repository, but only
    that repository lists its worktrees.
    """
    link = _line(os.path.join(root, GIT))
    if not link.startswith("gitdir:"):
        return root
    entry = os.path.normpath(os.path.join(root, link.removeprefix("gitdir:").strip()))
    worktrees = os.path.dirname(entry)
    git = os.path.dirname(worktrees)
    if os.path.basename(worktrees) != "worktrees" or os.path.basename(git) != GIT:
        return root
    back = _line(os.path.join(entry, "gitdir"))
    if not back:
        return root
    listed = os.path.realpath(os.path.join(entry, back))
    return os.path.dirname(git) if listed == os.path.realpath(os.path.join(root, GIT)) else root


def _line(path: str) -> str:
    if not os.path.isfile(path):
        return ""
    try:
        with open(path, "rb") as stream:
            return stream.read(GIT_FILE_MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""
