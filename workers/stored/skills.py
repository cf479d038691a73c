"""`skills/list`."""

from __future__ import annotations

import os

from config.errors import ConfigError
from config.settings import settings_of
from config.skills import find_skills
from protocol.base import Wire
from protocol.skills import SkillErrorInfo, SkillsListEntry, SkillsListParams, SkillsListResponse
from workers.stored.configuration import load
from workers.stored.request import StoredRequest

__all__ = ["list_"]


def list_(request: StoredRequest) -> Wire:
    """Read from the disk each time, so `forceReload` changes nothing."""
    params = request.params(SkillsListParams)
    return SkillsListResponse(data=[_entry(request, cwd) for cwd in params.cwds or [os.getcwd()]])


def _entry(request: StoredRequest, cwd: str) -> SkillsListEntry:
    try:
        settings = settings_of(load(request, cwd))
    except ConfigError as error:
        problem = SkillErrorInfo(path=cwd, message=f"failed to reload config: {error}")
        return SkillsListEntry(cwd=cwd, skills=[], errors=[problem])
    skills = find_skills(
        request.home,
        os.path.normpath(os.path.join(os.getcwd(), cwd)),
        environ=os.environ,
        switches=settings.skills.config,
        root_markers=settings.project_root_markers,
    )
    return SkillsListEntry(
        cwd=cwd, skills=[skill.metadata for skill in skills.found], errors=list(skills.problems)
    )
