"""Skills: folders with a `SKILL.md`, of the project, the user, the system and the server's administrator.

The rules are those of Codex 0.169, seen by trying: `.agents/skills` of every folder from the cwd up to the project
root, `.codex/skills` of the cwd alone, `skills` in the home and `.agents/skills` of the user; folders whose names begin
with a dot are passed over; links are followed, and a file that is reached twice counts once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec

from config.project_docs import folders_to_root
from config.skill_file import Skill, SkillFileError, read_skill
from protocol.skills import SkillErrorInfo, SkillScope

__all__ = ["SkillSwitch", "Skills", "find_skills", "newest_change", "skill_folders"]

SKILL_FILE = "SKILL.md"
ADMIN_ROOT = "/etc/codex/skills"
SYSTEM_FOLDER = ".system"
"""Below the home's skills: those that came with a program, not from the user."""

MAX_DEPTH = 6
"""Folders below a root; the peer looks no deeper."""

MAX_FOLDERS = 2000
"""Of one root: a link to / must not walk the disk."""

_ORDER: tuple[SkillScope, ...] = ("repo", "user", "system", "admin")


class SkillSwitch(msgspec.Struct, frozen=True, kw_only=True):
    """`[[skills.config]]`: turns one skill off, by the path of its SKILL.md or by its name."""

    path: str | None = None
    name: str | None = None
    enabled: bool = True


class Skills(msgspec.Struct, frozen=True, kw_only=True):
    """By scope, then by name. `problems`: files that look like skills and are none. The rest is what it was made from."""

    found: tuple[Skill, ...] = ()
    problems: tuple[SkillErrorInfo, ...] = ()
    roots: tuple[str, ...] = ()
    """The folders that were looked through, of those that can hold skills the ones that are there."""
    read_at: float = 0.0
    """When, in unix seconds: what is newer may be missing. 0 if there was nothing to read."""
    switches: tuple[SkillSwitch, ...] = ()
    root_markers: tuple[str, ...] = ()

    def offered(self) -> list[Skill]:
        """Those the model is told of by itself."""
        return [skill for skill in self.found if skill.implicit and skill.metadata.enabled]

    def by_path(self, path: str) -> Skill | None:
        real = os.path.realpath(path)
        return next((skill for skill in self.found if skill.metadata.path == real), None)

    def by_name(self, name: str) -> Skill | None:
        """The only enabled one of that name: two of a name are never guessed between."""
        named = [skill for skill in self.found if skill.metadata.name == name and skill.metadata.enabled]
        return named[0] if len(named) == 1 else None


def find_skills(
    home: str,
    cwd: str,
    *,
    environ: Mapping[str, str],
    switches: Sequence[SkillSwitch] = (),
    root_markers: Sequence[str] = (".git",),
) -> Skills:
    """All skills for a thread in `cwd` (absolute, need not exist). Reads the disk: not for an event loop."""
    read_at = time.time()
    found: dict[str, Skill] = {}
    problems: dict[str, SkillErrorInfo] = {}
    roots: list[str] = []
    for scope, root in _roots(home, cwd, environ, root_markers):
        if os.path.isdir(root):
            roots.append(root)
        for path in _files(root, links=scope != "system"):
            real = os.path.realpath(path)
            if real in found or real in problems:
                continue
            try:
                found[real] = read_skill(real, scope)
            except SkillFileError as error:
                problems[real] = SkillErrorInfo(path=real, message=str(error))
    for skill in found.values():
        skill.metadata.enabled = _enabled(skill, switches)
    skills = sorted(
        found.values(),
        key=lambda skill: (_ORDER.index(skill.metadata.scope), skill.metadata.name, skill.metadata.path),
    )
    return Skills(
        found=tuple(skills),
        problems=tuple(problems[path] for path in sorted(problems)),
        roots=tuple(roots),
        read_at=read_at if roots else 0.0,
        switches=tuple(switches),
        root_markers=tuple(root_markers),
    )


def newest_change(folders: Iterable[str]) -> float:
    """When something in these folders changed last, in unix seconds. Reads the disk."""
    times = [0.0]
    for folder in folders:
        for path in (folder, os.path.join(folder, SKILL_FILE)):
            with suppress(OSError):
                times.append(os.stat(path).st_ctime)
    return max(times)


def skill_folders(root: str) -> Iterator[str]:
    """The folders in which a change may change the skills below a root, the nearest first. Reads the disk."""
    return (folder for folder, _ in _walk(root, links=True))


def _roots(
    home: str, cwd: str, environ: Mapping[str, str], markers: Sequence[str]
) -> Iterator[tuple[SkillScope, str]]:
    for folder in folders_to_root(cwd, markers):
        yield "repo", os.path.join(folder, ".agents", "skills")
    yield "repo", os.path.join(cwd, ".codex", "skills")
    yield "user", os.path.join(home, "skills")
    yield "user", os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".agents", "skills")
    yield "system", os.path.join(home, "skills", SYSTEM_FOLDER)
    yield "admin", ADMIN_ROOT


def _files(root: str, *, links: bool) -> Iterator[str]:
    """The SKILL.md files below `root`, the nearest first."""
    for _, entries in _walk(root, links=links):
        yield from (entry.path for entry in entries if entry.name == SKILL_FILE and entry.is_file())


def _walk(root: str, *, links: bool) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """The folders that are looked through and what is in them, the nearest first."""
    level, seen = [root], {os.path.realpath(root)}
    for _ in range(MAX_DEPTH + 1):
        below: list[str] = []
        for folder in level:
            entries = _entries(folder)
            yield folder, entries
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=links):
                    real = os.path.realpath(entry.path)
                    if real not in seen and len(seen) < MAX_FOLDERS:
                        seen.add(real)
                        below.append(entry.path)
        level = below


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []  # not there, or not ours to read


def _enabled(skill: Skill, switches: Sequence[SkillSwitch]) -> bool:
    """The last switch that names the skill decides."""
    enabled = True
    for switch in switches:
        by_path = switch.path is not None and os.path.realpath(switch.path) == skill.metadata.path
        if by_path or (switch.name is not None and switch.name == skill.metadata.name):
            enabled = switch.enabled
    return enabled
