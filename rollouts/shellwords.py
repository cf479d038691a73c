"""A command as one line of text (the wire) and as a list of words (the file)."""

from __future__ import annotations

import re
import shlex

__all__ = ["join_words", "split_words"]

_PLAIN = re.compile(r"[A-Za-z0-9_\-./:@+=,%\]]+\Z", re.ASCII)
_ESCAPED = re.compile(r'([$`"\\])')


def join_words(words: list[str]) -> str:
    """One line that a shell splits back into `words`; quotes where and how the peer does."""
    return " ".join(map(_quote, words))


def split_words(line: str) -> list[str]:
    """The words of a line; one that no shell would take (an open quote) is one word."""
    try:
        return shlex.split(line) or [line]
    except ValueError:
        return [line]


def _quote(word: str) -> str:
    if _PLAIN.match(word):
        return word
    if "'" not in word:
        return f"'{word}'"
    if "!" in word or "^" in word:  # no double quotes: a history expansion would happen inside
        return shlex.quote(word)
    return '"' + _ESCAPED.sub(r"\\\1", word) + '"'
