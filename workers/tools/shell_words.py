"""Shell scripts made of plain words, and words made into a shell script.

Only scripts whose meaning can be read off are split: words joined by `&&`, `||`, `;`, `|` and line ends. Whatever
the shell would expand, redirect or run in the background makes a script opaque.
"""

from __future__ import annotations

import re
import string

import msgspec

__all__ = ["SimpleCommand", "join", "split_script"]

_TOKEN = re.compile(
    r"""
      (?P<blank> (?: [ \t] | \\\n )+ )
    | (?P<operator> && | \|\| | [;|\n] )
    | (?P<word> (?: [^\s'"\\$`<>&|;()*?\[\]{}#~\0]
                  | \\[^\n\0]
                  | '[^'\0]*'
                  | "(?: [^"\\$`\0] | \\[^\0] )*"
                )+ )
    """,
    re.VERBOSE,
)
_PIECE = re.compile(
    r"""\\(?P<escaped>.)|'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\\'"]+)""", re.DOTALL
)
_ESCAPE_IN_QUOTES = re.compile(r"\\(?:([$`\"\\])|\n)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_RESERVED = re.compile(
    r"!|case|coproc|do|done|elif|else|esac|fi|for|function|if|in|select|then|time|until|while"
)

_BARE = frozenset((string.ascii_letters + string.digits + "+-./:@]_").encode())
_NOT_IN_SINGLE = frozenset(b"'\\^")
_NOT_IN_DOUBLE = frozenset(b"$`!^")


class SimpleCommand(msgspec.Struct, frozen=True):
    """`words` is not empty. `piped`: its input is the output of the command before it."""

    words: tuple[str, ...]
    piped: bool = False


def split_script(script: str) -> list[SimpleCommand] | None:
    """The commands of a plain script in order; `None` if it is opaque or not complete; empty for blank text."""
    commands: list[SimpleCommand] = []
    words: list[str] = []
    before = ";"  # the operator in front of the command being read
    at = 0
    while at < len(script):
        token = _TOKEN.match(script, at)
        if token is None:
            return None
        at = token.end()
        if token["word"]:
            if not words and (_RESERVED.fullmatch(token["word"]) or _ASSIGNMENT.match(token["word"])):
                return None
            words.append(_unquoted(token["word"]))
        elif operator := token["operator"]:
            if words:
                commands.append(SimpleCommand(tuple(words), piped=before == "|"))
                words = []
                before = ";" if operator == "\n" else operator
            elif operator != "\n":
                return None
    if words:
        commands.append(SimpleCommand(tuple(words), piped=before == "|"))
        return commands
    return commands if before == ";" else None


def _unquoted(word: str) -> str:
    return "".join(
        _ESCAPE_IN_QUOTES.sub(r"\1", piece["double"])
        if piece["double"] is not None
        else piece["escaped"] or piece["single"] or piece["bare"] or ""
        for piece in _PIECE.finditer(word)
    )


def join(words: list[str] | tuple[str, ...]) -> str:
    """One line that a POSIX shell splits into `words` again, quoted the way the peer quotes."""
    return " ".join(_quoted(word.encode(errors="surrogateescape")) for word in words)


def _quoted(word: bytes) -> str:
    """The longest pieces that need one kind of quotes, bare before single before double."""
    if not word:
        return "''"
    pieces: list[bytes] = []
    start = 0
    while start < len(word):
        bare = single = double = True
        end = start
        while end < len(word):
            byte = word[end]
            # `^` at the start of a piece is safe in single quotes, and nowhere else in any
            still = (
                bare and byte in _BARE,
                single and (byte not in _NOT_IN_SINGLE or (byte == ord("^") and end == start)),
                double and byte not in _NOT_IN_DOUBLE,
            )
            if not any(still):
                break
            bare, single, double = still
            end += 1
        piece = word[start:end]
        if bare:
            pieces.append(piece)
        elif single:
            pieces.append(b"'" + piece + b"'")
        else:
            pieces.append(b'"' + piece.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"')
        start = end
    return b"".join(pieces).decode(errors="replace")
