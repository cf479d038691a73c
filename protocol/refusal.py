"""Params that do not fit their type, told in the peer's words (those of serde, which clients show and match on)."""

from __future__ import annotations

import re
import types
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from protocol.base import NoParams, OptionalParams, Params
from protocol.constraints import ABSOLUTE
from protocol.rpc import NULL, RpcError

__all__ = ["decode_params", "describe", "explain"]

T = TypeVar("T", bound=msgspec.Struct)

_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_PATH = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `([^`]+)`")
_RANGE = re.compile(r"Expected `int` (>=|<=) (\d+)")
_WIDTHS = {0xFFFF: "u16", 0xFFFF_FFFF: "u32"}
"""The most that a number may be -> the peer's name of the type."""
_NOT_ABSOLUTE = f"Expected `str` matching regex {ABSOLUTE!r}"
_WORDS = {
    "str": "a string",
    "bool": "a boolean",
    "int": "i64",
    "float": "f64",
    "array": "a sequence",
    "object": "a map",
}


def decode_params(params: msgspec.Raw | None, kind: type[T]) -> T:
    """The params of a request.

    Raises:
        RpcError: -32600, `Invalid request: ` and what is wrong.
    """
    if params is None or params == NULL:
        if issubclass(kind, OptionalParams):
            return kind()
        raise RpcError("Invalid request: missing field `params`")
    try:
        if kind is NoParams and (given := msgspec.json.decode(params)) != {}:
            raise RpcError(f"Invalid request: invalid type: {describe(given)}, expected unit")
        return msgspec.json.decode(kind.modern(params) if issubclass(kind, Params) else params, type=kind)
    except msgspec.ValidationError as error:
        raise RpcError(f"Invalid request: {explain(error, params, kind)}") from None
    except RecursionError:
        raise RpcError("Invalid request: recursion limit exceeded") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Raw params were passed on unread, so broken UTF-8 in a string shows only here.
        raise RpcError(f"Invalid request: {error}") from None


def explain(error: msgspec.ValidationError, params: bytes | str, kind: type[msgspec.Struct]) -> str:
    """What is wrong with `params`, JSON that did not decode as `kind`."""
    text = str(error)
    if missing := _MISSING.match(text):
        return f"missing field `{missing.group(1)}`"
    path = _PATH.search(text)
    try:
        value = msgspec.json.decode(params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text
    if path is None and not isinstance(value, dict):
        return f"invalid type: {describe(value)}, expected struct {kind.__name__}"
    expected: Any = kind
    parent: Any = kind
    for name, index in _STEP.findall(path.group(1) if path else ""):
        parent, expected = expected, _step(expected, name, index)
        try:
            value = value[name] if name else value[int(index) if index.isdigit() else 0]
        except (KeyError, IndexError, TypeError):
            return text
    choices = _choices(expected)
    if text.startswith("Invalid enum value") and isinstance(value, str):
        return _unknown_variant(value, choices)
    if choices and text.startswith(("Expected", "Object")) and not isinstance(value, str):
        # A variant with fields would be a map of one key.
        if isinstance(value, dict) and len(value) == 1:
            return _unknown_variant(next(iter(value)), choices)
        return f"invalid type: {describe(value)}, expected string or map"
    if text.startswith("Invalid value") and isinstance(value, dict):
        return f"unknown variant `{value.get('type')}`"
    if text.startswith("Invalid value") and isinstance(value, str) and (tags := _tags(parent)):
        return f"unknown variant `{value}`, expected one of {', '.join(f'`{tag}`' for tag in tags)}"
    if text.startswith(_NOT_ABSOLUTE):
        return "AbsolutePathBuf deserialized without a base path"
    if out_of_range := _RANGE.match(text):
        unbounded = "usize" if out_of_range.group(2) == "0" else "i64"
        return f"invalid value: {describe(value)}, expected {_width(expected) or unbounded}"
    found = _EXPECTED.match(text)
    if found:
        if (struct := _struct(expected)) is not None and not isinstance(value, list):
            return f"invalid type: {describe(value)}, expected struct {struct.__name__}"
        if any(getattr(meta, "pattern", None) == ABSOLUTE for meta in _metas(expected)):
            return f"invalid type: {describe(value)}, expected path string"
        wanted = found.group(1).removesuffix(" | null").split(" | ")[0]
        word = (_width(expected) if wanted == "int" else None) or _WORDS.get(wanted, wanted)
        return f"invalid type: {describe(value)}, expected {word}"
    return text.split(" - at ", maxsplit=1)[0]


def describe(value: Any) -> str:
    """A value as it is named in an error: `string "x"`, `integer `5``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    if isinstance(value, str):
        return f'string "{value}"'
    return "sequence" if isinstance(value, list) else "map"


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]


def _step(annotation: Any, name: str, index: str) -> Any:
    for member in _members(annotation):
        if name and isinstance(member, type) and issubclass(member, msgspec.Struct):
            for field in msgspec.structs.fields(member):
                if field.encode_name == name:
                    return field.type
        if index and get_origin(member) in (list, tuple):
            return get_args(member)[0]
    return Any


def _choices(annotation: Any) -> list[str]:
    """The words of an enum, those of variants with fields before the last."""
    members = _members(annotation)
    words = [str(word) for member in members if get_origin(member) is Literal for word in get_args(member)]
    if not words or str in members:
        return []
    with_fields = [
        field.encode_name
        for member in members
        if isinstance(member, type) and issubclass(member, msgspec.Struct)
        for field in msgspec.structs.fields(member)
    ]
    return [*words[:-1], *with_fields, words[-1]]


def _unknown_variant(value: str, choices: Sequence[str]) -> str:
    quoted = [f"`{choice}`" for choice in choices]
    if len(quoted) < 2:
        wanted = "".join(quoted)
    else:
        wanted = " or ".join(quoted) if len(quoted) == 2 else f"one of {', '.join(quoted)}"
    return f"unknown variant `{value}`, expected {wanted}"


def _struct(annotation: Any) -> type[msgspec.Struct] | None:
    """The only kind of object that is wanted; None if it is one of several, told apart by a tag."""
    structs = [
        member
        for member in _members(annotation)
        if isinstance(member, type) and issubclass(member, msgspec.Struct)
    ]
    return structs[0] if len(structs) == 1 and structs[0].__struct_config__.tag is None else None


def _metas(annotation: Any) -> list[Any]:
    return [meta for member in _members(annotation) for meta in getattr(member, "__metadata__", ())]


def _width(annotation: Any) -> str | None:
    bounds = (getattr(meta, "le", None) for meta in _metas(annotation))
    return next((_WIDTHS[bound] for bound in bounds if bound in _WIDTHS), None)


def _tags(annotation: Any) -> list[str]:
    return [
        str(tag)
        for member in _members(annotation)
        if isinstance(member, type) and issubclass(member, msgspec.Struct)
        if (tag := member.__struct_config__.tag) is not None
    ]
