"""`gitDiffToRemote`: what a working tree has that no remote has."""

from __future__ import annotations

from protocol.base import Params, Wire

__all__ = ["GitDiffToRemoteParams", "GitDiffToRemoteResponse"]


class GitDiffToRemoteParams(Params):
    cwd: str


class GitDiffToRemoteResponse(Wire):
    """sha: the newest commit of HEAD's history that a remote has. diff: from it to the files, untracked ones too."""

    sha: str
    diff: str
