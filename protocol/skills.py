"""Skills: instructions in a `SKILL.md` that a model reads when a task calls for them."""

from __future__ import annotations

from typing import Literal

from protocol.base import UNSET, Absent, Params, Wire

__all__ = [
    "SkillDependencies",
    "SkillErrorInfo",
    "SkillInterface",
    "SkillMetadata",
    "SkillScope",
    "SkillToolDependency",
    "SkillsChangedNotification",
    "SkillsListEntry",
    "SkillsListParams",
    "SkillsListResponse",
]

SkillScope = Literal["user", "repo", "system", "admin"]


class SkillInterface(Wire, kw_only=True):
    """How a client shows the skill. `icon_*`: absolute paths."""

    display_name: str | None = None
    short_description: str | None = None
    icon_small: str | None = None
    icon_large: str | None = None
    icon_small_url: str | None = None
    icon_large_url: str | None = None
    brand_color: str | None = None
    default_prompt: str | None = None


class SkillToolDependency(Wire, kw_only=True):
    """What the skill needs, e.g. `type` "env_var" and `value` its name. What is not said is left out."""

    type: str
    value: str
    description: str | Absent = UNSET
    transport: str | Absent = UNSET
    command: str | Absent = UNSET
    url: str | Absent = UNSET


class SkillDependencies(Wire, kw_only=True):
    tools: list[SkillToolDependency]


class SkillMetadata(Wire, kw_only=True):
    """`path`: of the SKILL.md, links resolved. The three optional parts are left out when the files say nothing."""

    name: str
    description: str
    short_description: str | Absent = UNSET
    interface: SkillInterface | Absent = UNSET
    dependencies: SkillDependencies | Absent = UNSET
    path: str
    scope: SkillScope
    enabled: bool = True
    plugin_id: str | None = None


class SkillErrorInfo(Wire, kw_only=True):
    path: str
    message: str


class SkillsListParams(Params, kw_only=True):
    """`cwds`: none means the server's own."""

    cwds: list[str] = []
    force_reload: bool = False


class SkillsListEntry(Wire, kw_only=True):
    cwd: str
    skills: list[SkillMetadata]
    errors: list[SkillErrorInfo]


class SkillsListResponse(Wire, kw_only=True):
    """One entry for each folder asked for, in that order."""

    data: list[SkillsListEntry]


class SkillsChangedNotification(Wire, kw_only=True):
    """Files of skills have changed: `skills/list` may say something else now."""
