"""What is known of a command from its words: its parts, and that it destroys."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sandbox_backends.shellwords import literal_commands, plain_commands, script_of

__all__ = ["dangerous", "segments"]

_SHELL_FOLDERS = frozenset(("", "/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"))
_WRAPPERS = frozenset(("command", "exec", "nice", "nohup", "sudo", "time"))
"""Programs that run what follows them."""


def segments(argv: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The commands to be judged one by one: those of a splittable shell script, else the argv as it is.

    A shell elsewhere than in a system folder is a program like any other: the model may have written it.
    """
    script = script_of(argv) if argv and os.path.dirname(argv[0]) in _SHELL_FOLDERS else None
    if script is not None:
        commands = plain_commands(script)
        if commands:
            return tuple(commands)
    return (tuple(argv),)


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
