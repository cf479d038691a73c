"""From plain values to typed structs, with errors that name the key.

msgspec decodes in one go but does not say which key of a table was wrong (`$.model_providers[...]`). So the
good case is one `msgspec.convert`; only after a refusal is the culprit looked for, type by type.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from config.document import Document
from config.errors import InvalidSettingError
from config.positions import Path

__all__ = ["convert", "dotted", "refusal"]

T = TypeVar("T")

_NAMES: dict[Any, str] = {
    bool: "a boolean",
    dict: "a table",
    float: "a number",
    int: "i64",  # the peer's word, which clients may compare
    list: "an array",
    str: "a string",
    tuple: "an array",
}


def convert(values: dict[str, Any], target: type[T], document: Document, prefix: Path = ()) -> T:
    """`values` as a struct.

    `document` is where the values came from and `prefix` their path in it; both only serve the error.

    :raises InvalidSettingError: something has a wrong type or is out of range.
    """
    try:
        return msgspec.convert(values, target)
    except msgspec.ValidationError as error:
        path, reason = _blame(values, target, str(error))
        raise refusal(document, (*prefix, *path), reason) from error


def refusal(document: Document, path: Path, reason: str) -> InvalidSettingError:
    """The error about the value at `path`, with its place in the file where there is one."""
    place = document.position_of(path)
    if place is None or place[0].file is None:
        return InvalidSettingError(dotted(path), reason)
    origin, position = place
    if position is None:
        return InvalidSettingError(dotted(path), reason, file=origin.file)
    return InvalidSettingError(
        dotted(path), reason, file=origin.file, line=position.line, column=position.column
    )


def dotted(path: Path) -> str:
    """`('projects', '/a.b', 'trust_level')` as `projects."/a.b".trust_level`, `('roots', 1)` as `roots[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        bare = part.replace("-", "").replace("_", "").isalnum() and part.isascii()
        text += ("." if text else "") + (part if bare else msgspec.json.encode(part).decode())
    return text


def _refused(value: Any, target: Any) -> str | None:
    try:
        msgspec.convert(value, target)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _blame(value: Any, target: Any, text: str) -> tuple[Path, str]:
    """The path below `value` of what does not fit `target`, and why; `text` is msgspec's own reason."""
    target = _member(value, target)
    parts: list[tuple[str | int, Any, Any]] = []
    if isinstance(value, dict):
        if isinstance(target, type) and issubclass(target, msgspec.Struct):
            fields = msgspec.structs.fields(target)
            for field in fields:
                if field.required and field.encode_name not in value:
                    return (), f"missing field `{field.encode_name}`"
            parts = [(f.encode_name, value[f.encode_name], f.type) for f in fields if f.encode_name in value]
        elif get_origin(target) is dict:
            parts = [(key, item, get_args(target)[1]) for key, item in value.items()]
    elif isinstance(value, list) and get_origin(target) in (list, tuple):
        parts = [(index, item, get_args(target)[0]) for index, item in enumerate(value)]
    for key, item, kind in parts:
        why = _refused(item, kind)
        if why is not None:
            below, reason = _blame(item, kind, why)
            return (key, *below), reason
    return (), _mismatch(value, target, text)


def _member(value: Any, target: Any) -> Any:
    """The member of an optional or a union that a value of this shape was meant for."""
    if get_origin(target) not in (Union, types.UnionType):
        return target
    members = [member for member in get_args(target) if member is not type(None)]
    for member in members:
        bare = get_args(member)[0] if get_origin(member) is Annotated else member
        shape = get_origin(bare) or bare
        table = isinstance(bare, type) and issubclass(bare, msgspec.Struct)
        if isinstance(value, dict) and (table or shape is dict):
            return member
        if isinstance(value, list) and shape in (list, tuple):
            return member
        if isinstance(value, str) and shape is Literal:
            return member
    return members[0] if len(members) == 1 else target


def _mismatch(value: Any, target: Any, text: str) -> str:
    bare = get_args(target)[0] if get_origin(target) is Annotated else target
    if get_origin(bare) is Literal and isinstance(value, str):
        choices = [f"`{choice}`" for choice in get_args(bare)]
        if len(choices) < 3:
            return f"unknown variant `{value}`, expected {' or '.join(choices)}"
        return f"unknown variant `{value}`, expected one of {', '.join(choices)}"
    expected = _expected(bare)
    found = _found(value)
    if isinstance(bare, type) and type(value) is bare:
        # the type is right, so a bound was broken: msgspec says which
        return f"invalid value: {found}, {text[0].lower()}{text[1:].partition(' - at ')[0]}"
    return f"invalid type: {found}, expected {expected}"


def _expected(target: Any) -> str:
    origin = get_origin(target)
    if origin in (Union, types.UnionType):
        members = [m for m in get_args(target) if m is not type(None)]
        names = [_expected(get_args(m)[0] if get_origin(m) is Annotated else m) for m in members]
        return " or ".join(dict.fromkeys(names))
    if origin is Literal:
        return "a string"
    if isinstance(target, type) and issubclass(target, msgspec.Struct):
        return "a table"
    return _NAMES.get(origin or target, str(target))


def _found(value: Any) -> str:
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    if isinstance(value, str):
        return f"string {msgspec.json.encode(value).decode()}"
    if isinstance(value, dict):
        return "map"
    return "sequence" if isinstance(value, list) else f"datetime `{value}`"
