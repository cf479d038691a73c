"""What a command is seen to do: the `commandActions` of a command execution.

A guess for display, never for a decision: a client shows "Read a.txt" in place of a command line. One command that
is not understood makes the whole script one unknown action.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from protocol.command_actions import CommandAction, ListFilesAction, ReadAction, SearchAction, UnknownAction
from workers.tools.known_programs import (
    AWK_VALUES,
    FD_VALUES,
    FIND_ACTS,
    FIND_NAMES,
    FORMATTERS,
    LISTERS,
    PATTERN_OPTIONS,
    READERS,
    SEARCHERS,
    SILENT,
    XARGS_VALUES,
)
from workers.tools.shell_words import SimpleCommand, join, split_script

__all__ = ["actions_of", "display"]


SHELLS = frozenset({"bash", "dash", "ksh", "sh", "zsh"})

_DULL_FOLDERS = frozenset({"build", "dist", "node_modules", "src"})
"""Names that say nothing on their own; a path is shown by its last part that does."""

_SED_RANGE = re.compile(r"\d+(,(\d+|\$))?p")
_COUNT = re.compile(r"\+?\d+")


def display(argv: Sequence[str]) -> str:
    """The command as it stands on the wire: `/bin/bash -lc 'echo hi; ls'`."""
    return join(tuple(argv))


def actions_of(argv: Sequence[str], cwd: str | None = None) -> list[CommandAction]:
    """What `argv` does, in order. Paths read are made absolute with `cwd`; without it they stay as written.

    Empty for a script that does nothing but `cd`.
    """
    script = _script(argv)
    if script is None:
        return [_action(tuple(argv), cwd) or UnknownAction(command=join(tuple(argv)))]
    commands = split_script(script)
    if not commands:
        return [UnknownAction(command=script)]
    actions = _script_actions(commands, cwd)
    if actions is None:
        return [UnknownAction(command=script)]
    match actions:
        case [ReadAction() as read] if _pages_a_pipe(commands):
            # which lines were read is said by the sed at the end of the pipe
            return [ReadAction(command=_rendered(commands), name=read.name, path=read.path)]
    return actions


def _script(argv: Sequence[str]) -> str | None:
    match list(argv):
        case [shell, "-c" | "-lc", script] if os.path.basename(shell) in SHELLS:
            return script
    return None


def _script_actions(commands: list[SimpleCommand], cwd: str | None) -> list[CommandAction] | None:
    actions: list[CommandAction] = []
    understood = False
    for index, command in enumerate(commands):
        words = command.words
        feeds = index + 1 < len(commands) and commands[index + 1].piped
        if words[0] == "cd" and not feeds and not command.piped:
            cwd = _changed(cwd, words)
            understood = True
            continue
        if words[0] in SILENT and not feeds and not command.piped:
            continue
        if command.piped and _only_formats(words):
            continue
        action = _action(words, cwd)
        if action is None:
            return None
        understood = True
        if not actions or actions[-1] != action:
            actions.append(action)
    return actions if understood else None


def _changed(cwd: str | None, words: tuple[str, ...]) -> str | None:
    operands = [word for word in words[1:] if not word.startswith("-")]
    if not operands:
        return cwd
    return os.path.normpath(os.path.join(cwd or "", operands[0]))


def _only_formats(words: tuple[str, ...]) -> bool:
    """A formatter that names no file of its own and writes none."""
    name, *rest = words
    if name not in FORMATTERS:
        return False
    match name:
        case "tee":
            return False
        case "xargs":
            return _xargs_only_shows(rest)
        case "sed":
            return not any(
                word == "--in-place" or re.match(r"-[a-zA-Z]*i|--in-place=", word) for word in rest
            )
    return True


def _xargs_only_shows(rest: list[str]) -> bool:
    operands = _operands(rest, XARGS_VALUES)
    if not operands:
        return True
    return operands[0] in READERS or operands[0] in {
        "ls",
        "head",
        "tail",
        "wc",
        "grep",
        "rg",
        "stat",
        "file",
    }


def _pages_a_pipe(commands: list[SimpleCommand]) -> bool:
    return any(command.piped for command in commands) and any(
        command.words[:2] == ("sed", "-n") for command in commands
    )


def _rendered(commands: list[SimpleCommand]) -> str:
    pieces: list[str] = []
    for command in commands:
        if pieces:
            pieces.append(" | " if command.piped else " && ")
        pieces.append(join(command.words))
    return "".join(pieces)


def _action(words: tuple[str, ...], cwd: str | None) -> CommandAction | None:
    if not words:
        return None
    name, rest = words[0], list(words[1:])
    text = join(words)
    if name == "git" and rest:
        name, rest = {"grep": "grep", "ls-files": "ls"}.get(rest[0], ""), rest[1:]
    if name == "rg" and "--files" in rest:
        return _listed(text, _operands(rest, SEARCHERS["rg"]))
    if name in SEARCHERS:
        return _searched(text, rest, SEARCHERS[name])
    if name in LISTERS:
        return _listed(text, _operands(rest, LISTERS[name]))
    match name:
        case "find":
            return _found(text, rest)
        case "fd" | "fdfind":
            if any(word in {"-x", "-X", "--exec", "--exec-batch"} for word in rest):
                return None
            operands = _operands(rest, FD_VALUES)
            if not operands:
                return ListFilesAction(command=text)
            return SearchAction(command=text, query=operands[0], path=_short(operands[1:]))
    file = _file_read(name, rest)
    if file is None:
        return None
    path = os.path.normpath(os.path.join(cwd or "", file))
    return ReadAction(command=text, name=os.path.basename(path), path=path)


def _operands(rest: list[str], valued: frozenset[str]) -> list[str]:
    """The words that are no options and no option's value."""
    operands: list[str] = []
    skip = False
    for index, word in enumerate(rest):
        if skip:
            skip = False
        elif word == "--":
            return operands + rest[index + 1 :]
        elif word.startswith("-") and word != "-":
            skip = word in valued
        else:
            operands.append(word)
    return operands


def _short(paths: list[str]) -> str | None:
    if not paths:
        return None
    trimmed = paths[0].rstrip("/") or paths[0]
    parts = [part for part in trimmed.split("/") if part and part not in _DULL_FOLDERS]
    return parts[-1] if parts else trimmed


def _listed(text: str, paths: list[str]) -> ListFilesAction:
    return ListFilesAction(command=text, path=_short(paths))


def _searched(text: str, rest: list[str], valued: frozenset[str]) -> SearchAction | None:
    for index, word in enumerate(rest):
        if word == "--":
            break
        if word in PATTERN_OPTIONS and index + 1 < len(rest):
            others = _operands(rest[:index] + rest[index + 2 :], valued.union(PATTERN_OPTIONS))
            return SearchAction(command=text, query=rest[index + 1], path=_short(others))
    operands = _operands(rest, valued)
    if not operands:
        return None
    return SearchAction(command=text, query=operands[0], path=_short(operands[1:]))


def _found(text: str, rest: list[str]) -> CommandAction | None:
    if not FIND_ACTS.isdisjoint(rest):
        return None
    paths: list[str] = []
    for word in rest:
        if word.startswith(("-", "(", "!")) and word not in {"-H", "-L", "-P"}:
            break
        if not word.startswith("-"):
            paths.append(word)
    for index, word in enumerate(rest[:-1]):
        if word in FIND_NAMES:
            return SearchAction(command=text, query=rest[index + 1], path=_short(paths))
    return ListFilesAction(command=text, path=_short(paths))


def _file_read(name: str, rest: list[str]) -> str | None:
    """The one file that is shown, `None` if it is not exactly one."""
    operands: list[str] = []
    if name in READERS:
        operands = _operands(rest, READERS[name])
    elif name in {"head", "tail"}:
        match rest:
            case ["-n" | "--lines", count, *others] if _COUNT.fullmatch(count):
                operands = others
            case [option, *others] if re.fullmatch(r"(-n|--lines=|-)\+?\d+", option):
                operands = others
            case _:
                operands = rest
    elif name == "sed":
        match rest:
            case ["-n", "-e", expression, file] | ["-n", expression, file] if _SED_RANGE.fullmatch(
                expression
            ):
                operands = [file]
    elif name == "awk":
        operands = _operands(rest, AWK_VALUES)[1:]
        if any(word in {"-f", "--file", "-i", "--include"} for word in rest):
            return None
    if len(operands) != 1 or (operands[0].startswith("-") and "--" not in rest):
        return None
    return operands[0]
