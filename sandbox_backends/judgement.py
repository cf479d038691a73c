"""What is known of a command from its words: that it only reads, or that it destroys.

The lists follow Codex 0.169, but a program counts as known only under its bare name or from a system folder: a file
called `ls` in the workspace is the model's, not the system's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from sandbox_backends.shellwords import literal_commands, plain_commands, script_of

__all__ = ["dangerous", "known_safe", "segments"]

_SYSTEM_FOLDERS = frozenset(("", "/bin", "/usr/bin"))
_READERS = frozenset(
    ("cat", "cd", "cut", "echo", "expr", "false", "grep", "head", "id", "ls", "nl", "numfmt", "paste", "pwd", "rev",
     "seq", "stat", "tac", "tail", "tr", "true", "uname", "wc", "which", "whoami")
)  # fmt: skip
_FIND_ACTIONS = frozenset(
    ("-delete", "-exec", "-execdir", "-fls", "-fprint", "-fprint0", "-fprintf", "-ok", "-okdir")
)
_RG_PROGRAMS = ("--pre", "--hostname-bin")
_SED_RANGE = re.compile(r"[0-9]+(,[0-9]+)?p")
_WRAPPERS = frozenset(("command", "exec", "nice", "nohup", "sudo", "time"))
"""Programs that run what follows them."""


def _no_base64_output(arguments: Sequence[str]) -> bool:
    return not any(a.startswith(("-o", "--o")) for a in arguments)


def _no_find_action(arguments: Sequence[str]) -> bool:
    return _FIND_ACTIONS.isdisjoint(arguments)


def _no_rg_program(arguments: Sequence[str]) -> bool:
    for argument in arguments:
        if argument == "--search-zip" or argument.split("=", 1)[0] in _RG_PROGRAMS:
            return False
        if re.fullmatch(r"-[A-Za-z0-9.]*z.*", argument):  # -z among bundled short options
            return False
    return True


def _sed_prints(arguments: Sequence[str]) -> bool:
    return (
        2 <= len(arguments) <= 3
        and arguments[0] == "-n"
        and _SED_RANGE.fullmatch(arguments[1]) is not None
        and not any(argument.startswith("-") for argument in arguments[2:])
    )


def _uniq_reads(arguments: Sequence[str]) -> bool:
    return sum(not argument.startswith("-") for argument in arguments) <= 1  # a second name is the output


_CONDITIONAL: dict[str, Callable[[Sequence[str]], bool]] = {
    "base64": _no_base64_output,
    "find": _no_find_action,
    "rg": _no_rg_program,
    "sed": _sed_prints,
    "uniq": _uniq_reads,
}


def segments(argv: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The commands to be judged one by one: those of a splittable shell script, else the argv as it is."""
    script = script_of(argv)
    if script is not None:
        commands = plain_commands(script)
        if commands:
            return tuple(commands)
    return (tuple(argv),)


def known_safe(command: Sequence[str]) -> bool:
    """Whether one command (a segment) only reads, whatever its arguments are."""
    if not command:
        return False
    folder, _, name = command[0].rpartition("/")
    if folder not in _SYSTEM_FOLDERS or (not folder and command[0].startswith("/")):
        return False
    condition = _CONDITIONAL.get(name)
    return condition(command[1:]) if condition is not None else name in _READERS


def _destroys(command: Sequence[str]) -> bool:
    words = list(command)
    while words and os.path.basename(words[0]) in _WRAPPERS:
        words.pop(0)
        while words and words[0].startswith("-"):
            words.pop(0)
    if not words or os.path.basename(words[0]) != "rm":
        return False
    for word in words[1:]:
        if word == "--":
            return False
        if word == "--force" or (word.startswith("-") and not word.startswith("--") and "f" in word):
            return True
    return False


def dangerous(argv: Sequence[str]) -> bool:
    """Whether a command, or any command in its script however nested, forces a removal."""
    script = script_of(argv)
    if script is None:
        return _destroys(argv)
    return any(_destroys(command) for command in literal_commands(script))
