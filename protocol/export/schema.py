"""JSON Schema of wire types: each class and each named union becomes one definition.

What is *required* depends on the direction. What clients send may leave out whatever has a default. What the server
sends has all its fields, null or not, except those marked with `Absent`; a type that goes both ways follows the
first rule.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from protocol.base import UNSET, Absent, NoParams
from protocol.export.naming import Names, members, pascal

__all__ = ["REF", "Compiler", "Schema", "reachable"]

Schema = dict[str, Any]

REF = "#/definitions/"
_PRIMITIVES: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"format": "int64", "type": "integer"},
    float: {"format": "double", "type": "number"},
    bytes: {"contentEncoding": "base64", "type": "string"},
    type(None): {"type": "null"},
}
_LISTS = (list, tuple, set, frozenset)
_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_SIZES = {"min_length": ("minLength", "minItems"), "max_length": ("maxLength", "maxItems")}


def reachable(roots: Iterable[Any]) -> set[type[msgspec.Struct]]:
    """All classes that values of these types can hold."""
    found: set[type[msgspec.Struct]] = set()
    waiting = list(roots)
    while waiting:
        annotation = waiting.pop()
        if _is_struct(annotation):
            if annotation not in found:
                found.add(annotation)
                waiting.extend(field.type for field in msgspec.structs.fields(annotation))
        elif get_origin(annotation) is not Literal:
            waiting.extend(get_args(annotation))
    return found


class Compiler:
    """Makes schemas of annotations; `definitions` grows with what they refer to."""

    def __init__(self, names: Names, sent_by_clients: set[type[msgspec.Struct]]) -> None:
        self.definitions: dict[str, Schema] = {}
        self._names = names
        self._inputs = sent_by_clients

    def schema(self, annotation: Any) -> Schema:
        """Of any annotation; classes and named unions become references."""
        if get_origin(annotation) is Annotated:
            inner, *notes = get_args(annotation)
            return _constrained(self.schema(inner), notes)
        if annotation in (Any, msgspec.Raw, object):
            return {}
        if annotation in _PRIMITIVES:
            return dict(_PRIMITIVES[annotation])
        if _is_struct(annotation):
            return self._class(annotation)
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return _choice([choice.value for choice in annotation])
        origin = get_origin(annotation) or annotation
        if origin in _LISTS:
            arguments = [part for part in get_args(annotation) if part is not Ellipsis]
            return {"items": self.schema(arguments[0]) if arguments else {}, "type": "array"}
        if origin is dict or origin is Mapping:
            arguments = list(get_args(annotation))
            return {
                "additionalProperties": (self.schema(arguments[1]) if arguments else {}) or True,
                "type": "object",
            }
        return self._union([part for part in members(annotation) if part is not Absent])

    def define(self, name: str, annotation: Any) -> None:
        """Let a type stand under this name, whatever it is called itself."""
        if _is_struct(annotation):
            self.definitions[name] = {}  # it may refer to itself
            self.definitions[name] = self.structure(annotation)
        else:
            schema = self.schema(annotation)
            if schema != {"$ref": REF + name}:
                self.definitions[name] = schema

    def root(self, annotation: Any, suffix: str, otherwise: str) -> str:
        """Define params or a result; its name: its own if that ends with `suffix`, else `otherwise`."""
        schema = self.schema(annotation)
        own = schema["$ref"].removeprefix(REF) if "$ref" in schema else ""
        if own.endswith(suffix):
            return own
        self.define(otherwise, annotation)
        return otherwise

    def structure(self, cls: type[msgspec.Struct], tag_title: str = "") -> Schema:
        """The object that a class stands for, in full."""
        properties: dict[str, Schema] = {}
        required: list[str] = []
        config = cls.__struct_config__
        if config.tag_field is not None:
            title = {"title": tag_title + "Type"} if tag_title else {}
            properties[config.tag_field] = {"enum": [config.tag], "type": "string"} | title
            required.append(config.tag_field)
        for field in msgspec.structs.fields(cls):
            schema = self.schema(field.type)
            left_out = field.default is UNSET or (config.omit_defaults and not field.required)
            optional = left_out or (cls in self._inputs and not field.required)
            if optional:
                schema = _with_default(schema, field)
            else:
                required.append(field.encode_name)
            properties[field.encode_name] = schema
        schema = {"type": "object"}
        if cls.__doc__:
            schema["description"] = _plain(cls.__doc__)
        if properties:
            schema["properties"] = dict(sorted(properties.items()))
        if required:
            schema["required"] = sorted(required)
        return dict(sorted(schema.items()))

    def _class(self, cls: type[msgspec.Struct]) -> Schema:
        if cls is NoParams:
            return {"type": "null"}
        name = self._names.of_class(cls)
        if name not in self.definitions:
            self.define(name, cls)
        return {"$ref": REF + name}

    def _union(self, parts: list[Any]) -> Schema:
        rest = [part for part in parts if part is not type(None)]
        nullable = len(rest) < len(parts)
        name = self._names.of_union(rest)
        if name is not None:
            if name not in self.definitions:
                self.definitions[name] = {}
                self.definitions[name] = self._alternatives(rest, name)
            schema: Schema = {"$ref": REF + name}
        elif len(rest) == 1:
            schema = _values(rest[0]) if get_origin(rest[0]) is Literal else self.schema(rest[0])
        else:
            schema = self._alternatives(rest, "")
        return _or_null(schema) if nullable else schema

    def _alternatives(self, parts: list[Any], name: str) -> Schema:
        """Tagged classes stand in a named union itself, under the name of their tag, as in the peer's."""
        if len(parts) == 1:
            return _values(parts[0])
        several: list[Schema] = []
        for part in parts:
            if get_origin(part) is Literal:
                several.append(_values(part))
            elif name and _is_struct(part) and part.__struct_config__.tag_field is not None:
                title = pascal(str(part.__struct_config__.tag).replace("-", "_")) + name
                several.append(self.structure(part, title) | {"title": title})
            else:
                several.append(self.schema(part))
        apart = all(_is_struct(part) or get_origin(part) is Literal for part in parts)
        return {"oneOf" if apart and name else "anyOf": several}


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _values(literal: Any) -> Schema:
    return _choice(list(get_args(literal)))


def _choice(values: list[Any]) -> Schema:
    kind = "integer" if all(isinstance(value, int) for value in values) else "string"
    return {"enum": values, "type": kind}


def _or_null(schema: Schema) -> Schema:
    if not schema:
        return schema
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    if "anyOf" in schema:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def _constrained(schema: Schema, notes: list[Any]) -> Schema:
    limits: Schema = {}
    for note in notes:
        if isinstance(note, msgspec.Meta):
            for ours, theirs in _LIMITS.items():
                if getattr(note, ours) is not None:
                    limits[theirs] = getattr(note, ours)
            for ours, (of_text, of_list) in _SIZES.items():
                if getattr(note, ours) is not None:
                    limits[of_list if "items" in schema else of_text] = getattr(note, ours)
            if note.pattern is not None:
                limits["pattern"] = note.pattern
    return schema | limits


def _with_default(schema: Schema, field: msgspec.structs.FieldInfo) -> Schema:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is None or value is UNSET:
        return schema
    value = msgspec.to_builtins(value)
    return {"allOf": [schema], "default": value} if "$ref" in schema else schema | {"default": value}


def _plain(text: str) -> str:
    return " ".join(text.split())
