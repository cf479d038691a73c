"""AGENTS.md: what a user and a project want the agent to know.

One file of the home directory, then one a folder from the project root down to the cwd. The rules are those of
Codex 0.169, seen by trying: in the home a blank file counts as absent, in a project the first name that exists is
taken even if it is blank; the limit is for all files of the project together, the home's does not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import msgspec

__all__ = ["ProjectDocs", "folders_to_root", "load_project_docs"]

DOC_NAMES = ("AGENTS.override.md", "AGENTS.md")
# Between the home's text and the project's; models have seen it there since Codex 0.58.
HOME_SEPARATOR = "\n\n--- project-doc ---\n\n"
DOC_SEPARATOR = "\n\n"
# No user writes more by hand; whatever is bigger is not what it is called.
HOME_DOC_MAX_BYTES = 1024 * 1024


class ProjectDocs(msgspec.Struct, frozen=True):
    """`text` is empty and `sources` too when there is nothing. `sources` are absolute, in order of the text."""

    text: str = ""
    sources: tuple[str, ...] = ()


def load_project_docs(
    home: str,
    cwd: str,
    *,
    max_bytes: int,
    fallback_names: Sequence[str] = (),
    root_markers: Sequence[str] = (".git",),
) -> ProjectDocs:
    """All documents for a thread in `cwd` (absolute, need not exist).

    What cannot be read is passed over, as is what is no regular file. Bytes that are not UTF-8 are replaced.
    """
    sources: list[str] = []
    personal = ""
    for path in _candidates(home, ()):
        data = _read(path, HOME_DOC_MAX_BYTES)
        if data is not None and (text := _text(data)):
            personal = text
            sources.append(path)
            break

    parts: list[str] = []
    left = max_bytes
    for folder in reversed(folders_to_root(cwd, root_markers)):
        for path in _candidates(folder, fallback_names):
            data = _read(path, left) if left else None
            if data is None:
                continue
            left -= len(data)
            if text := _text(data):
                parts.append(text)
                sources.append(path)
            break
    project = DOC_SEPARATOR.join(parts)
    return ProjectDocs(HOME_SEPARATOR.join(filter(None, (personal, project))), tuple(sources))


def folders_to_root(cwd: str, markers: Sequence[str]) -> list[str]:
    """`cwd` and its parents up to the nearest one that has one of `markers` in it; only `cwd` if none has.

    Parents are those of the path as it is written: a link is not followed.
    """
    folders: list[str] = []
    for folder in _upwards(cwd):
        folders.append(folder)
        if any(os.path.lexists(os.path.join(folder, marker)) for marker in markers):
            return folders
    return [cwd]


def _upwards(folder: str) -> Iterator[str]:
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent


def _candidates(folder: str, fallback_names: Sequence[str]) -> list[str]:
    names = dict.fromkeys((*DOC_NAMES, *fallback_names))
    # a fallback name is a name, not a way to read other folders
    return [os.path.join(folder, name) for name in names if name and os.sep not in name]


def _read(path: str, limit: int) -> bytes | None:
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as stream:
            return stream.read(limit)
    except OSError:
        return None


def _text(data: bytes) -> str:
    text = data.decode(errors="replace")
    return text if text.strip() else ""
