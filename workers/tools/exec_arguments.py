"""What the model may say in a call of `exec_command`, and what it is told of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from config.resolve import ThreadSettings
from protocol.constraints import UnsignedSize
from workers.permissions import Asked, Permissions, asked_permissions, ungrantable
from workers.tools.permissions import SCHEMA as PERMISSIONS_SCHEMA
from workers.tools.tool import ToolRefused, function

__all__ = ["ExecArguments", "exec_definition", "function_definition", "further_permissions"]

NO_FURTHER = (
    "additional permissions are disabled; enable `features.exec_permission_approvals` before using "
    "`with_additional_permissions`"
)
FURTHER_MISSING = (
    "missing `additional_permissions`; provide at least one of `network` or `file_system` when using "
    "`with_additional_permissions`"
)
FURTHER_EMPTY = (
    "`additional_permissions` must include at least one requested permission in `network` or `file_system`"
)


class ExecArguments(msgspec.Struct):
    cmd: str
    workdir: str | None = None
    shell: str | None = None
    login: bool = True
    tty: bool = False
    yield_time_ms: UnsignedSize | None = None
    timeout_ms: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_output_tokens: int | None = None
    sandbox_permissions: Literal["use_default", "with_additional_permissions", "require_escalated"] = (
        "use_default"
    )
    additional_permissions: Asked | None = None
    justification: str | None = None
    prefix_rule: list[str] | None = None


def exec_definition(name: str, *, further: bool) -> Mapping[str, Any]:
    """`further`: whether the model may ask for permissions of one command."""
    definition = function_definition(
        name,
        "Runs a command in a shell and returns its output, or a session id if it is still running.",
        {
            "cmd": ("string", "The shell command."),
            "workdir": ("string", "Where to run it; default: the thread's working directory."),
            "shell": ("string", "The shell to use; default: /bin/bash."),
            "login": ("boolean", "Whether it is a login shell (default true)."),
            "tty": ("boolean", "Whether it gets a terminal, for programs that need one."),
            "yield_time_ms": (
                "number",
                "How long to wait for output before it goes on in the background.",
            ),
            "timeout_ms": ("number", "End the command after so long (exit code 124); default: never."),
            "max_output_tokens": ("number", "Output beyond this is cut in the middle."),
            "sandbox_permissions": (
                "string",
                'Set to "require_escalated" to ask for running outside of the sandbox.',
            ),
            "justification": ("string", "With require_escalated: one sentence for the user, why."),
            "prefix_rule": (
                "array",
                "With require_escalated: a command prefix the user may allow for good.",
            ),
        },
        required=["cmd"],
    )
    if further:
        properties = definition["parameters"]["properties"]
        properties["sandbox_permissions"] = {
            "type": "string",
            "enum": ["use_default", "with_additional_permissions", "require_escalated"],
            "description": "with_additional_permissions: in the sandbox, with what additional_permissions says; "
            "require_escalated: without the sandbox. The user is asked.",
        }
        properties["additional_permissions"] = PERMISSIONS_SCHEMA
    return definition


def further_permissions(arguments: ExecArguments, settings: ThreadSettings) -> Permissions | None:
    """The permissions that the model asks for this command; None if it asks for none.

    Raises:
        ToolRefused: it may not, or it does not say which.
    """
    asked = arguments.additional_permissions
    wanted = arguments.sandbox_permissions == "with_additional_permissions"
    if arguments.sandbox_permissions == "require_escalated" or (asked is None and not wanted):
        return None
    if not settings.command_permissions:
        raise ToolRefused(NO_FURTHER)
    if asked is None:
        raise ToolRefused(FURTHER_MISSING)
    further = asked_permissions(asked, settings.cwd)
    if not further:
        raise ToolRefused(FURTHER_EMPTY)
    reason = ungrantable(further)
    if reason is not None:
        raise ToolRefused(reason)
    return further


def function_definition(
    name: str, description: str, parameters: Mapping[str, tuple[str, str]], *, required: list[str]
) -> Mapping[str, Any]:
    properties: dict[str, Any] = {}
    for key, (kind, text) in parameters.items():
        properties[key] = {"type": kind, "description": text}
        if kind == "array":
            properties[key]["items"] = {"type": "string"}
    return function(name, description, properties, required=required)
