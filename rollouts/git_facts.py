"""What a thread's head says of the repository it began in, read from git's own files.

No git is run: a repository may bring programs that git starts, and this is read outside of any sandbox.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["git_facts"]

_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_ORIGIN = re.compile(r'\[remote\s+"origin"\]')
_URL = re.compile(r"url\s*=\s*(.*)")
BRANCHES = "refs/heads/"
MAX_FILE_BYTES = 1 << 20
"""Of one of git's files; what is behind that counts as not there."""


def git_facts(cwd: str) -> dict[str, str] | None:
    """`commit_hash`, `branch` and `repository_url`, as far as they are known; None outside of a repository."""
    place = _repository(Path(cwd))
    if place is None:
        return None
    common = _common(place)
    head = _read(place / "HEAD").strip()
    facts: dict[str, str] = {}
    ref = head.removeprefix("ref:").strip() if head.startswith("ref:") else None
    sha = head if ref is None else _resolve(ref, place, common)
    if _SHA.fullmatch(sha):
        facts["commit_hash"] = sha
    if ref is not None and ref.startswith(BRANCHES):
        facts["branch"] = ref.removeprefix(BRANCHES)
    if (url := _origin(_read(common / "config"))) is not None:
        facts["repository_url"] = url
    return facts


def _repository(folder: Path) -> Path | None:
    """The `.git` of a folder or of one above it; that of a worktree or a submodule is named in a file."""
    for place in (folder, *folder.parents):
        inner = place / ".git"
        if inner.is_dir():
            return inner
        named = _read(inner).strip()
        if named.startswith("gitdir:"):
            return Path(os.path.normpath(place / named.removeprefix("gitdir:").strip()))
    return None


def _common(place: Path) -> Path:
    """Where the branches and the settings are, which worktrees share."""
    named = _read(place / "commondir").strip()
    return Path(os.path.normpath(place / named)) if named else place


def _resolve(ref: str, place: Path, common: Path) -> str:
    if ".." in ref:
        return ""
    for folder in (place, common):
        if sha := _read(folder / ref).strip():
            return sha
    for line in _read(common / "packed-refs").splitlines():
        sha, _, name = line.partition(" ")
        if name == ref:
            return sha
    return ""


def _origin(config: str) -> str | None:
    inside = False
    for line in map(str.strip, config.splitlines()):
        if line.startswith("["):
            inside = _ORIGIN.match(line) is not None
        elif inside and (found := _URL.fullmatch(line)) is not None:
            return found[1].strip().strip('"') or None
    return None


def _read(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        return os.read(fd, MAX_FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
