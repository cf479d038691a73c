"""Reading the scripts agents hand to a shell, as far as that can be done with certainty.

`plain_commands` gives the commands of a script made of plain words joined by `&&`, `||`, `;`, `|` and line ends, and
nothing for any other script: no expansion, no redirection, no pattern, no comment, no control flow.
`literal_commands` errs the other way: it finds whatever looks like a command anywhere in a script, to spot bad ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

__all__ = ["literal_commands", "plain_commands", "script_of"]

SHELLS = frozenset(("bash", "sh", "zsh"))
SHELL_FLAGS = frozenset(("-c", "-lc"))
_RESERVED = frozenset(
    ("!", "[[", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in",
     "select", "then", "time", "until", "while", "{", "}")
)  # fmt: skip
_FORBIDDEN = frozenset("$`\\(){}<>*?[]~#!\r\0")
"""Outside quotes each of these means something, at least somewhere in a word or with some option set."""
_FORBIDDEN_IN_DOUBLE = frozenset("$`\\!\0")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_BREAKS = re.compile(r"&&|\|\||\|&|[;|&\n(){}`]|\$\(")
_LITERAL_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)


def script_of(argv: Sequence[str]) -> str | None:
    """The script of `bash -lc SCRIPT` (sh, zsh; -c), None for anything else, extra arguments included."""
    if len(argv) == 3 and os.path.basename(argv[0]) in SHELLS and argv[1] in SHELL_FLAGS:
        return argv[2]
    return None


def plain_commands(script: str) -> list[tuple[str, ...]] | None:
    """The argv of each command in a script of plain words; None if the script is anything more, or malformed."""
    commands: list[tuple[str, ...]] = []
    words: list[str] = []
    word: str | None = None
    open_end = False  # after && || | something must follow
    index = 0

    def finish() -> None:
        nonlocal word
        if word is not None:
            words.append(word)
            word = None

    while index < len(script):
        char = script[index]
        if char in " \t":
            finish()
            index += 1
        elif char in "'\"":
            end = script.find(char, index + 1)
            if end < 0:
                return None
            text = script[index + 1 : end]
            if char == '"' and not _FORBIDDEN_IN_DOUBLE.isdisjoint(text):
                return None
            word = (word or "") + text
            index = end + 1
        elif char in ";|&\n":
            finish()
            operator = char * 2 if char in "|&" and script.startswith(char * 2, index) else char
            if operator == "&" or (not words and operator != "\n"):
                return None
            if words:
                commands.append(tuple(words))
                words.clear()
                open_end = operator in ("&&", "||", "|")
            index += len(operator)
        elif char in _FORBIDDEN:
            return None
        else:
            word = (word or "") + char
            index += 1
    finish()
    if words:
        commands.append(tuple(words))
    elif open_end or not commands:
        return None
    if any(command[0] in _RESERVED or _ASSIGNMENT.match(command[0]) for command in commands):
        return None
    return commands


def literal_commands(script: str) -> list[tuple[str, ...]]:
    """What may be commands in any script, quotes removed: a search for bad ones, not a parse."""
    commands: list[tuple[str, ...]] = []
    for piece in _BREAKS.split(_inner_scripts(script)):
        words = [_unquote(match) for match in _LITERAL_WORD.findall(piece)]
        while words and (words[0] in _RESERVED or _ASSIGNMENT.match(words[0])):
            words.pop(0)
        if words:
            commands.append(tuple(words))
    return commands


def _inner_scripts(script: str) -> str:
    """The script with its quoted data blanked, and what is substituted inside double quotes laid open."""
    opened: list[str] = []

    def lay_open(match: re.Match[str]) -> str:
        text = match[0]
        if text[0] == '"' and ("$(" in text or "`" in text):
            opened.append(text[1:-1])
        # Quoted operators are data. The words stay words.
        return text[0] + re.sub(r"[;|&\n(){}`$]", "_", text[1:-1]) + text[0]

    laid = re.sub(r"""'[^']*'|"(?:[^"\\]|\\.)*\"""", lay_open, script, flags=re.DOTALL)
    return "\n".join((laid, *opened))


def _unquote(word: str) -> str:
    return re.sub(r"""\\(.)|['"]""", lambda match: match[1] or "", word)
