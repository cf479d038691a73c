"""What a model is told before the user speaks: our own instructions, the permissions, the project, the environment."""

from __future__ import annotations

import functools
import os
import time

from config.resolve import REQUEST_PERMISSIONS, ThreadSettings
from protocol.policy import (
    DangerFullAccess,
    ExternalSandbox,
    GranularApproval,
    ReadOnly,
    SandboxPolicy,
    WorkspaceWrite,
)

__all__ = ["PERSONALITIES", "base_instructions", "context_messages", "environment_context", "message"]

MAX_SKILLS_BYTES = 24 * 1024
"""The list stands in every request: from here on only names and paths are told."""

SKILLS = (
    "<skills_instructions>\n## Skills\nA skill is a folder with instructions in a `SKILL.md`. Use one when the user "
    "names it (also as `$name`) or when the task is what its description says: read the whole `SKILL.md` first, "
    "follow it, and take paths in it as relative to its folder. A skill holds for the turn it was chosen in. If one "
    "cannot be read, say so and go on without it.\n### Available skills\n"
)
NO_SKILLS = "<skills_instructions>\nThere are no skills any more.\n</skills_instructions>"


@functools.cache
def base_instructions() -> str:
    """Our own instructions, for threads whose settings bring none."""
    with open(os.path.join(os.path.dirname(__file__), "instructions.md"), encoding="utf-8") as file:
        return file.read().strip()


def message(role: str, *texts: str) -> dict[str, object]:
    """A message in Responses form."""
    return {
        "type": "message",
        "role": role,
        "content": [{"type": "input_text", "text": text} for text in texts],
    }


def context_messages(settings: ThreadSettings) -> list[dict[str, object]]:
    """The messages that stand at the beginning of a thread."""
    developer = [_permissions(settings)]
    if settings.developer_instructions:
        developer.append(settings.developer_instructions)
    if skills := offered_skills(settings):
        developer.append(skills)
    messages = [message("developer", *developer)]
    if settings.user_instructions:
        text = f"# AGENTS.md instructions for {settings.cwd}\n\n<INSTRUCTIONS>\n{settings.user_instructions}\n</INSTRUCTIONS>"
        messages.append(message("user", text))
    messages.append(message("user", environment_context(settings)))
    return messages


def environment_context(settings: ThreadSettings) -> str:
    """Where the model works; sent again when it changes."""
    shell = os.path.basename(os.environ.get("SHELL") or "/bin/bash")
    lines = [
        "<environment_context>",
        f"  <cwd>{settings.cwd}</cwd>",
        f"  <shell>{shell}</shell>",
        f"  <current_date>{time.strftime('%Y-%m-%d')}</current_date>",
        f"  <sandbox>{_sandbox_word(settings.sandbox)}</sandbox>",
        f"  <network>{'enabled' if _network(settings.sandbox) else 'restricted'}</network>",
        f"  <approval_policy>{_approval_word(settings)}</approval_policy>",
        "</environment_context>",
    ]
    return "\n".join(lines)


def _sandbox_word(policy: SandboxPolicy) -> str:
    match policy:
        case DangerFullAccess():
            return "danger-full-access"
        case ReadOnly():
            return "read-only"
        case WorkspaceWrite():
            return "workspace-write"
        case ExternalSandbox():
            return "external"


def _network(policy: SandboxPolicy) -> bool:
    if isinstance(policy, DangerFullAccess):
        return True
    return policy.network_access is True or policy.network_access == "enabled"


def _approval_word(settings: ThreadSettings) -> str:
    policy = settings.approval_policy
    return "granular" if isinstance(policy, GranularApproval) else policy


PERSONALITIES = {
    "none": "Use no particular tone of voice from now on.",
    "friendly": "Be warm and encouraging in what you say to the user, and no less exact.",
    "pragmatic": "Be brief and matter-of-fact in what you say to the user.",
}
"""What is told when the user chooses a tone."""


FURTHER_FOR_ONE = (
    'If a folder or the network is all that one command lacks, prefer `sandbox_permissions: "with_additional_permissions"` '
    "with `additional_permissions`: it stays in the sandbox."
)
FURTHER_FOR_MORE = (
    "If several commands will need a folder or the network, ask for it once with `request_permissions`."
)


def _permissions(settings: ThreadSettings) -> str:
    policy = settings.sandbox
    if isinstance(policy, WorkspaceWrite):
        roots = ", ".join(f"`{root}`" for root in (settings.cwd, *policy.writable_roots))
        files = (
            f"You may write below {roots}"
            + ("" if policy.exclude_slash_tmp else " and /tmp")
            + ", and read everything."
        )
    elif isinstance(policy, ReadOnly):
        files = "You may read everything and write nothing."
    else:
        files = "No file system sandbox: commands may do whatever the user may do."
    network = "Network access is enabled." if _network(policy) else "Network access is off."
    asking = {
        "never": "Nobody can be asked for approval: a command that needs more than this is rejected.",
        "untrusted": "The user is asked before every command.",
        "on-request": 'If a command needs more, ask for it with `sandbox_permissions: "require_escalated"` and a justification.',
        "granular": "Some kinds of approval can be asked for; others are declined without asking.",
    }[_approval_word(settings)]
    if settings.approval_policy != "never":
        if settings.command_permissions:
            asking += " " + FURTHER_FOR_ONE
        if REQUEST_PERMISSIONS in settings.tools:
            asking += " " + FURTHER_FOR_MORE
    return f"<permissions instructions>\n{files} {network}\n{asking}\n</permissions instructions>"


def offered_skills(settings: ThreadSettings) -> str:
    """For the developer message; empty if there is nothing to choose from."""
    offered = settings.skills.offered()
    if not offered:
        return ""
    lines: list[str] = []
    left = MAX_SKILLS_BYTES
    for skill in offered:
        known = skill.metadata
        line = f"- {known.name}: {known.description} (file: {known.path})"
        if len(line) > left:
            line = f"- {known.name} (file: {known.path})"
        left -= len(line)
        lines.append(line)
    return SKILLS + "\n".join(lines) + "\n</skills_instructions>"
