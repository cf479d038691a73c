"""Shapes of JSON values: what of a message has to be the same in two runs of one conversation.

A shape keeps field names at every depth, JSON types (null, integer and number are types of their own), every
boolean, and the strings and integers that name a case (`CASE_FIELDS`). It forgets ids, times, texts, paths and
versions. Elements of an array are merged by the union of their keys, one shape for each value of their `type`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# Fields whose value picks a branch in a client: a different one is a different message.
CASE_FIELDS = frozenset(
    {
        "activeFlags",
        "approvalPolicy",
        "approvalsReviewer",
        "authMode",
        "availableDecisions",
        "code",
        "codexErrorInfo",
        "exitCode",
        "historyMode",
        "httpStatusCode",
        "itemsView",
        "kind",
        "mode",
        "multiAgentMode",
        "personality",
        "phase",
        "planType",
        "platformFamily",
        "platformOs",
        "source",
        "status",
        "type",
    }
)


class Shape(msgspec.Struct):
    """`elements` maps the `type` of an array's elements (empty for others) to their merged shape."""

    types: set[str]
    fields: dict[str, Shape] = msgspec.field(default_factory=dict)
    elements: dict[str, Shape] = msgspec.field(default_factory=dict)
    lengths: set[int] = msgspec.field(default_factory=set)

    def merge(self, other: Shape) -> None:
        self.types |= other.types
        self.lengths |= other.lengths
        _merge_named(self.fields, other.fields)
        _merge_named(self.elements, other.elements)

    def describe(self) -> str:
        return " or ".join(sorted(self.types))


class FieldDifference(msgspec.Struct, frozen=True):
    """One disagreement at `path` (`a.b[].c`, `a.b[userMessage].c`); kind is missing, added, type, value or length."""

    path: str
    kind: str
    recorded: str
    live: str


def _merge_named(into: dict[str, Shape], other: dict[str, Shape]) -> None:
    for name, shape in other.items():
        if name in into:
            into[name].merge(shape)
        else:
            into[name] = shape


def _is_map(value: dict[str, Any]) -> bool:
    """Objects keyed by ids or paths are arrays in disguise: their keys say nothing about the format."""
    return bool(value) and all(UUID.fullmatch(key) or key.startswith("/") for key in value)


def shape_of(value: Any, name: str = "") -> Shape:
    """The shape of a decoded JSON value; `name` is the field it stands in."""
    if isinstance(value, dict):
        if _is_map(value):
            return _elements_of("map", list(value.values()), name)
        return Shape({"object"}, fields={key: shape_of(item, key) for key, item in value.items()})
    if isinstance(value, list):
        return _elements_of("array", value, name)
    return Shape({_scalar_type(value, name)})


def _elements_of(type_name: str, values: list[Any], name: str) -> Shape:
    elements: dict[str, Shape] = {}
    for value in values:
        tag = value.get("type", "") if isinstance(value, dict) else ""
        _merge_named(elements, {str(tag): shape_of(value, name)})
    return Shape({type_name}, elements=elements, lengths={len(values)})


def _scalar_type(value: Any, name: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    base = {int: "integer", float: "number", str: "string"}[type(value)]
    return f"{base} {value!r}" if name in CASE_FIELDS else base


def compare_shapes(recorded: Shape, live: Shape, path: str = "") -> Iterator[FieldDifference]:
    """Every disagreement between two shapes, outermost first."""
    if recorded.types != live.types:
        same_base = {_base(name) for name in recorded.types} == {_base(name) for name in live.types}
        yield FieldDifference(path, "value" if same_base else "type", recorded.describe(), live.describe())
    both_sized = bool(recorded.lengths and live.lengths)
    if both_sized and _lengths_differ(recorded.lengths, live.lengths):
        yield FieldDifference(path, "length", _numbers(recorded.lengths), _numbers(live.lengths))
    # An object that became something else has said so once; its fields would only repeat it.
    if "object" in recorded.types and "object" in live.types:
        yield from _compare_named(recorded.fields, live.fields, f"{path}." if path else "", "")
    if recorded.elements and live.elements:
        yield from _compare_named(recorded.elements, live.elements, f"{path}[", "]")


def _compare_named(
    recorded: dict[str, Shape], live: dict[str, Shape], before: str, after: str
) -> Iterator[FieldDifference]:
    for name, shape in recorded.items():
        path = f"{before}{name}{after}"
        if name in live:
            yield from compare_shapes(shape, live[name], path)
        else:
            yield FieldDifference(path, "missing", shape.describe(), "absent")
    for name in live.keys() - recorded.keys():
        yield FieldDifference(f"{before}{name}{after}", "added", "absent", live[name].describe())


def _base(type_name: str) -> str:
    word = type_name.split(" ", 1)[0]
    return "boolean" if word in {"true", "false"} else word


def _lengths_differ(recorded: set[int], live: set[int]) -> bool:
    if len(recorded) == 1 and len(live) == 1:
        return recorded != live
    # Merged from several arrays: which lengths occur depends on the data, whether any is filled does not.
    return (max(recorded) == 0) != (max(live) == 0)


def _numbers(values: set[int]) -> str:
    return ", ".join(str(value) for value in sorted(values))


def paired_strings(recorded: Any, live: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """(field name, recorded, live) of every string that stands in the same place in both values."""
    if isinstance(recorded, str) and isinstance(live, str):
        yield name, recorded, live
    elif isinstance(recorded, dict) and isinstance(live, dict):
        for key in recorded.keys() & live.keys():
            yield from paired_strings(recorded[key], live[key], key)
    elif isinstance(recorded, list) and isinstance(live, list) and len(recorded) == len(live):
        for one, other in zip(recorded, live, strict=True):
            yield from paired_strings(one, other, name)
