"""One `SKILL.md`: its frontmatter, and `agents/openai.yaml` beside it with how clients show the skill."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec
import yaml

from protocol.base import UNSET, Absent
from protocol.skills import (
    SkillDependencies,
    SkillInterface,
    SkillMetadata,
    SkillScope,
    SkillToolDependency,
)

__all__ = ["Skill", "SkillFileError", "read_body", "read_skill"]

MAX_NAME = 64
MAX_BYTES = 512 * 1024
"""A skill is read into a model's context; what is bigger is no instruction."""

_FRONTMATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"^([A-Za-z_-]+):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


class SkillFileError(Exception):
    """A SKILL.md is not usable; the text is for the user."""


class Skill(msgspec.Struct, kw_only=True):
    """`implicit`: whether the model may choose it by itself; otherwise only the user names it."""

    metadata: SkillMetadata
    implicit: bool = True


def read_skill(path: str, scope: SkillScope) -> Skill:
    """The skill at `path`, an absolute path without links.

    Raises:
        SkillFileError
    """
    fields = _frontmatter(read_body(path))
    folder = os.path.dirname(path)
    name = _line(fields.get("name")) or os.path.basename(folder)
    if len(name) > MAX_NAME:
        raise SkillFileError(f"invalid name: exceeds maximum length of {MAX_NAME} characters")
    description = _line(fields.get("description"))
    if not description:
        raise SkillFileError("missing field `description`")
    extra = fields.get("metadata")
    short = _line(extra.get("short-description")) if isinstance(extra, dict) else ""
    agent = _agent_file(os.path.join(folder, "agents", "openai.yaml"))
    policy = agent.get("policy")
    return Skill(
        metadata=SkillMetadata(
            name=name,
            description=description,
            short_description=short or UNSET,
            interface=_interface(agent.get("interface"), folder),
            dependencies=_dependencies(agent.get("dependencies")),
            path=path,
            scope=scope,
        ),
        implicit=not (isinstance(policy, dict) and policy.get("allow_implicit_invocation") is False),
    )


def read_body(path: str) -> str:
    """The whole text of a SKILL.md.

    Raises:
        SkillFileError
    """
    try:
        if not os.path.isfile(path):  # a FIFO would block
            raise SkillFileError("failed to read file: not a file")
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SkillFileError(f"failed to read file: {error.strerror} (os error {error.errno})") from None
    if len(data) > MAX_BYTES:
        raise SkillFileError(f"failed to read file: more than {MAX_BYTES} bytes")
    return data.decode(errors="replace")


def _frontmatter(text: str) -> dict[str, Any]:
    found = _FRONTMATTER.match(text)
    if found is None:
        raise SkillFileError("missing YAML frontmatter delimited by ---")
    try:
        fields = yaml.safe_load(found.group(1))
    except (yaml.YAMLError, ValueError, RecursionError):
        # Hand-written: a colon in a description is the usual mistake. What stands on lines of its own still counts.
        return dict(_LINE.findall(found.group(1)))
    return fields if isinstance(fields, dict) else {}


def _agent_file(path: str) -> dict[str, Any]:
    """Decoration only: a broken one takes nothing from the skill."""
    try:
        fields = yaml.safe_load(read_body(path))
    except (SkillFileError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _line(value: Any) -> str:
    """One line of text; anything else counts as absent."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def _interface(table: Any, folder: str) -> SkillInterface | Absent:
    if not isinstance(table, dict):
        return UNSET

    def text(key: str) -> str | None:
        return _line(table.get(key)) or None

    def icon(key: str) -> str | None:
        name = text(key)
        # an icon lies beside its skill
        if name is None or os.path.isabs(name) or ".." in name.split("/"):
            return None
        return os.path.normpath(os.path.join(folder, name))

    return SkillInterface(
        display_name=text("display_name"),
        short_description=text("short_description"),
        icon_small=icon("icon_small"),
        icon_large=icon("icon_large"),
        brand_color=text("brand_color"),
        default_prompt=text("default_prompt"),
    )


def _dependencies(table: Any) -> SkillDependencies | Absent:
    tools = table.get("tools") if isinstance(table, dict) else None
    if not isinstance(tools, list):
        return UNSET
    known = []
    for tool in tools:
        if isinstance(tool, dict) and _line(tool.get("type")) and _line(tool.get("value")):
            names = ("description", "transport", "command", "url")
            rest = {name: _line(tool[name]) for name in names if _line(tool.get(name))}
            known.append(SkillToolDependency(type=_line(tool["type"]), value=_line(tool["value"]), **rest))
    return SkillDependencies(tools=known) if known else UNSET
