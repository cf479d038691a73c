"""One value of a TOML text set or taken away, in place.

tomlkit replaces and removes; what is new goes in as text, behind the last line of the section it belongs to, so that a
comment stays where it was: above what it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Item

from config.edits import MISSING
from config.positions import Section, sections_of

__all__ = ["NotInPlaceError", "set_value"]


class NotInPlaceError(Exception):
    pass


def set_value(text: str, path: Sequence[str], old: Any, new: Any) -> str:
    """`old` and `new` are plain values, MISSING for none; not both are tables.

    :raises NotInPlaceError: tomlkit cannot do it.
    """
    try:
        if old is MISSING:
            return _insert(text, path, new)
        if new is MISSING:
            return _remove(text, path)
        within = len(path) > 1 and not _has_headers(text, path[:-1])
        if _has_headers(text, path) or (isinstance(new, dict) and not within):
            return _insert(_remove(text, path), path, new)
        return _replace(text, path, new)
    except (TOMLKitError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise NotInPlaceError(str(error)) from error


def _replace(text: str, path: Sequence[str], new: Any) -> str:
    document = tomlkit.parse(text)
    container: Any = document
    for part in path[:-1]:
        container = container[part]
    container[path[-1]] = _item(new)
    return tomlkit.dumps(document)


def _remove(text: str, path: Sequence[str]) -> str:
    if _has_headers(text, path):
        return _without_sections(text, path)
    document = tomlkit.parse(text)
    container: Any = document
    for part in path[:-1]:
        container = container[part]
    del container[path[-1]]
    return tomlkit.dumps(document)


def _without_sections(text: str, path: Sequence[str]) -> str:
    """From each header to the last pair below it; comments behind that are about what follows and stay."""
    rows = _rows(text)
    for section in reversed(sections_of(text)):
        if section.path[: len(path)] == tuple(path):
            start, end = section.header - 1, section.last
            while end < len(rows) and not rows[end].strip() and (not start or not rows[start - 1].strip()):
                end += 1
            del rows[start:end]
    return "".join(rows)


def _has_headers(text: str, path: Sequence[str]) -> bool:
    """Whether the value is written as tables of its own, `[path]` or `[[path]]`."""
    return any(section.path[: len(path)] == tuple(path) for section in sections_of(text))


def _insert(text: str, path: Sequence[str], new: Any) -> str:
    sections = sections_of(text)
    parent = tuple(path[:-1])
    if not isinstance(new, dict):
        own = next((section for section in sections if section.path == parent), None)
        if own is not None:
            return _with_lines(text, own, [_pair(path[-1], new)])
    written = _written(text, parent)
    if parent and written is not None and not _has_headers(text, parent):
        # An inline table, or one that dotted keys have made, can have no header of its own.
        return _replace(text, path, new)
    lines = _section(path, new) if isinstance(new, dict) else [f"[{_dotted(parent)}]", _pair(path[-1], new)]
    return _with_lines(text, _neighbour(sections, path), ["", *lines])


def _written(text: str, path: Sequence[str]) -> Any:
    """What tomlkit has at `path`; None if there is nothing."""
    container: Any = tomlkit.parse(text)
    for part in path:
        if part not in container:
            return None
        container = container[part]
    return container


def _neighbour(sections: list[Section], path: Sequence[str]) -> Section:
    """The last section of the nearest kin; the last of all if there is none."""
    for length in range(len(path) - 1, 0, -1):
        kin = [section for section in sections if section.path[:length] == tuple(path[:length])]
        if kin:
            return kin[-1]
    return sections[-1]


def _with_lines(text: str, section: Section, lines: list[str]) -> str:
    """`lines` behind the last line of the section, with the line ends of the rest."""
    rows = _rows(text)
    at = section.last
    end = "\r\n" if rows and rows[0].endswith("\r\n") else "\n"
    if not at and not lines[0]:
        lines = lines[1:]
    fresh = [line + end for line in lines]
    if at and not rows[at - 1].endswith("\n"):
        fresh.insert(0, end)
    if not at and at < len(rows) and rows[at].strip():
        fresh.append(end)
    return "".join((*rows[:at], *fresh, *rows[at:]))


def _rows(text: str) -> list[str]:
    """Lines as TOML has them: nothing but a line feed ends one."""
    rows = text.split("\n")
    return [row + "\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])


def _section(path: Sequence[str], table: dict[str, Any]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    below = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = (
        [f"[{_dotted(path)}]", *(_pair(key, value) for key, value in plain.items())]
        if plain or not below
        else []
    )
    for key, value in below.items():
        lines += ([""] if lines else []) + _section((*path, key), value)
    return lines


def _pair(key: str, value: Any) -> str:
    return f"{_dotted([key])} = {_item(value).as_string()}"


def _dotted(path: Sequence[str]) -> str:
    return ".".join(tomlkit.key(part).as_string() for part in path)


def _item(value: Any) -> Item:
    """A value on one line."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, item in value.items():
            table[key] = _item(item)
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        for item in value:
            array.append(_item(item))
        return array
    plain: Item = tomlkit.item(value)
    return plain
