"""The key paths of `config/value/write`: dotted, with double quotes around parts that have dots in them."""

from __future__ import annotations

from config.errors import ConfigWriteError

__all__ = ["parse_key_path"]


def parse_key_path(text: str) -> tuple[str, ...]:
    """`projects."/a.b".trust_level` as its three parts.

    A backslash within quotes takes the next character as it is. Spaces and single quotes are parts of a key, as the
    peer has it.

    :raises ConfigWriteError: it is empty, has an empty part, or a quote is in the wrong place.
    """
    if not text:
        raise ConfigWriteError("keyPath must not be empty")
    parts: list[str] = []
    part = ""
    quoted = open_quote = False
    characters = iter(text)
    for character in characters:
        if open_quote:
            if character == "\\":
                part += next(characters, "")
            elif character == '"':
                open_quote = False
            else:
                part += character
        elif character == ".":
            parts.append(_part(part, quoted=quoted))
            part, quoted = "", False
        elif character == '"':
            if part:
                raise ConfigWriteError("invalid quoted keyPath segment")
            open_quote = quoted = True
        else:
            part += character
    if open_quote:
        raise ConfigWriteError("unterminated quoted keyPath segment")
    return (*parts, _part(part, quoted=quoted))


def _part(part: str, *, quoted: bool) -> str:
    if not part and not quoted:
        raise ConfigWriteError("keyPath segments must not be empty")
    return part
