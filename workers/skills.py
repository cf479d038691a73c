"""Skills that the user names: the model is given their text with his input."""

from __future__ import annotations

import os
import re

from config.resolve import ThreadSettings
from config.skill_file import Skill, SkillFileError, read_body
from config.skills import Skills, find_skills
from protocol.user_input import SkillInput, TextInput, UserInput
from workers.instructions import message

__all__ = ["found_again", "skill_messages"]

_MENTION = re.compile(r"\$([A-Za-z0-9_:-]+)")


def found_again(settings: ThreadSettings, home: str) -> Skills:
    """The skills that are there now. Reads the disk."""
    known = settings.skills
    return find_skills(
        home, settings.cwd, environ=os.environ, switches=known.switches, root_markers=known.root_markers
    )


def skill_messages(items: list[UserInput], settings: ThreadSettings) -> list[dict[str, object]]:
    """The skills that the user's input names, each as a message: those given as input first, then `$name` in text."""
    named: dict[str, Skill] = {}
    for item in items:
        if isinstance(item, SkillInput):
            skill = settings.skills.by_path(os.path.join(settings.cwd, item.path))
            if skill is not None and skill.metadata.enabled:
                named[skill.metadata.path] = skill
    taken = {skill.metadata.name for skill in named.values()}
    for item in items:
        if isinstance(item, TextInput):
            for name in _MENTION.findall(item.text):
                skill = settings.skills.by_name(name)
                if skill is not None and name not in taken:
                    named.setdefault(skill.metadata.path, skill)
    messages = []
    for skill in named.values():
        try:
            body = read_body(skill.metadata.path)
        except SkillFileError:
            continue  # it was there when the thread was loaded; the list says where
        known = skill.metadata
        messages.append(
            message(
                "user", f"<skill>\n<name>{known.name}</name>\n<path>{known.path}</path>\n{body}\n</skill>"
            )
        )
    return messages
