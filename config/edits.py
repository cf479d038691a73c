"""Edits of a configuration: what they make of its values, and of its text.

The text is edited in place (`config.toml_text`), so that all else stays as the user wrote it. Whether that did what it
should is not taken on trust: the new text must be read as exactly the values that the same edits make.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import tomli

from config.errors import ConfigWriteError

__all__ = ["MISSING", "Edit", "edit_text", "edit_values", "lookup"]

LARGEST_INTEGER, SMALLEST_INTEGER = 2**63 - 1, -(2**63)
MISSING = object()


class Edit(msgspec.Struct, frozen=True):
    """`value` None takes the key away. `upsert` lays a table over the one that is there."""

    path: tuple[str, ...]
    value: Any
    strategy: Literal["replace", "upsert"] = "replace"


def edit_values(values: dict[str, Any], edits: Sequence[Edit]) -> dict[str, Any]:
    """The values after the edits; what was given stays as it is.

    :raises ConfigWriteError: a value has no form in TOML, or a part of a path is no table.
    """
    edited: dict[str, Any] = _copied(values)
    for edit in edits:
        if edit.value is None:
            _remove(edited, edit.path)
            continue
        _check(edit.value)
        table = edited
        for part in edit.path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigWriteError("cannot set value on non-table parent")
        key = edit.path[-1]
        old = table.get(key)
        if edit.strategy == "upsert" and isinstance(edit.value, dict) and isinstance(old, dict):
            _lay_over(old, edit.value)
        else:
            table[key] = _copied(edit.value)
    return edited


def edit_text(text: str, values: dict[str, Any], edits: Sequence[Edit]) -> str:
    """The text after the edits. `values` are those it has now.

    :raises ConfigWriteError: as `edit_values`; or the text is written in a way that cannot be edited in place.
    """
    # Here and not above: nothing but a write needs tomlkit, and every worker would pay for it.
    from config.toml_text import NotInPlaceError, set_value  # noqa: PLC0415

    wanted = edit_values(values, edits)
    before = values
    for edit in edits:
        after = edit_values(before, [edit])
        for path in _changes(before, after):
            try:
                text = set_value(text, path, lookup(before, path, MISSING), lookup(after, path, MISSING))
            except NotInPlaceError as error:
                raise _by_hand(path) from error
        before = after
    try:
        holds = _pruned(tomli.loads(text)) == _pruned(wanted)
    except tomli.TOMLDecodeError:
        holds = False
    if not holds:
        raise _by_hand(edits[-1].path)
    return text


def lookup(values: Any, path: Sequence[str], missing: Any = None) -> Any:
    """The value at `path`, or `missing`."""
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return missing
        values = values[part]
    return values


def _by_hand(path: Sequence[str]) -> ConfigWriteError:
    return ConfigWriteError(
        f"`{'.'.join(path)}` is written in a way that cannot be edited in place: edit the file"
    )


def _changes(
    before: dict[str, Any], after: dict[str, Any], at: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The shortest paths at which the two differ without being tables on both sides."""
    for key in (*before, *(key for key in after if key not in before)):
        old, new = before.get(key, MISSING), after.get(key, MISSING)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, (*at, key))
        elif type(old) is not type(new) or old != new:
            yield (*at, key)


def _remove(values: dict[str, Any], path: Sequence[str]) -> None:
    table = lookup(values, path[:-1])
    if isinstance(table, dict):
        table.pop(path[-1], None)


def _lay_over(below: dict[str, Any], value: dict[str, Any]) -> None:
    for key, item in value.items():
        under = below.get(key)
        if isinstance(item, dict) and isinstance(under, dict):
            _lay_over(under, item)
        else:
            below[key] = _copied(item)


def _pruned(values: Any) -> Any:
    """Without empty tables: one that only its subtables have made is gone with the last of them."""
    if not isinstance(values, dict):
        return values
    pruned = {key: _pruned(value) for key, value in values.items()}
    return {key: value for key, value in pruned.items() if value != {}}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _check(value: Any) -> None:
    """What JSON can say and TOML cannot."""
    if isinstance(value, dict):
        for item in value.values():
            _check(item)
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif value is None:
        raise ConfigWriteError("invalid value: invalid type: null, expected any valid TOML value")
    elif isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise ConfigWriteError(f"invalid value: integer `{value}` does not fit into 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigWriteError("invalid value: the number is too large")
