"""A command as one line of text (the wire) and as a list of words (the file)."""

from __future__ import annotations

import re
import shlex

__all__ = ["join_words", "split_words"]

_PLAIN = re.compile(r"[A-Za-z0-9_\-./:@+=,%\]]+\Z", re.ASCII)
_ESCAPED = re.compile(r'([$`"\\])')

_BLANK = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(
    r"""((?: [^ \t\r\n'"\\] | \\. | '[^']*' | "(?: [^"\\] | \\. )*" )+) [ \t\r\n]*""", re.VERBOSE | re.DOTALL
)
_PIECE = re.compile(
    r"""\\(?P<escaped>.)|'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\\'"]+)""", re.DOTALL
)
_ESCAPE_IN_QUOTES = re.compile(r"\\(?:([$`\"\\])|\n)")


def join_words(words: list[str]) -> str:
    """One line that a shell splits back into `words`; quotes where and how the peer does."""
    return " ".join(map(_quote, words))


def split_words(line: str) -> list[str]:
    """The words of a line; one that no shell would take (an open quote) is one word.

    Not shlex, which takes no backslash away from a dollar sign in double quotes: a shell does, and so does the peer.
    """
    words: list[str] = []
    at = _BLANK.match(line).end()  # type: ignore[union-attr]  # it matches the empty string too
    while at < len(line):
        word = _WORD.match(line, at)
        if word is None:
            return [line]
        words.append("".join(map(_unquoted, _PIECE.finditer(word[1]))))
        at = word.end()
    return words or [line]


def _unquoted(piece: re.Match[str]) -> str:
    if piece["double"] is not None:
        return _ESCAPE_IN_QUOTES.sub(lambda found: found[1] or "", piece["double"])
    return piece["escaped"] or piece["single"] or piece["bare"] or ""


def _quote(word: str) -> str:
    if _PLAIN.match(word):
        return word
    if "'" not in word:
        return f"'{word}'"
    if "!" in word or "^" in word:  # no double quotes: a history expansion would happen inside
        return shlex.quote(word)
    return '"' + _ESCAPED.sub(r"\\\1", word) + '"'
