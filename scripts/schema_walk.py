"""Compares two exported protocols, type by type, by what may stand on the wire and not by how it is written down."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from schema_bundle import Bundle, Entry

_SCALARS = ("string", "integer", "number", "boolean")


class Drift(msgspec.Struct, frozen=True, order=True):
    """`where`: `method thread/list`, or a type with a path of fields (`Thread.gitInfo`, `ThreadItem<plan>.text`)."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class _Shape(msgspec.Struct):
    """One type without its spelling: what kinds of values it allows."""

    anything: bool = False
    nullable: bool = False
    scalars: set[str] = set()
    words: set[str] = set()
    objects: dict[str, Any] = {}
    """Tag, or the one key of an externally tagged object, or "" -> schema."""
    items: list[Any] = []
    values: list[Any] = []


class Walk:
    """`compare` adds to `found`."""

    def __init__(self, ours: Bundle, theirs: Bundle) -> None:
        self.found: set[Drift] = set()
        self._ours = ours
        self._theirs = theirs
        self._seen: set[tuple[str, str, bool]] = set()

    def compare(self) -> None:
        lists = (
            ("method", self._ours.requests, self._theirs.requests, False),
            ("server request", self._ours.server_requests, self._theirs.server_requests, True),
            ("notification", self._ours.notifications, self._theirs.notifications, True),
        )
        for kind, ours, theirs, told_by_server in lists:
            for method in sorted(ours.keys() | theirs.keys()):
                label = f"{kind} {method}"
                if method not in ours or method not in theirs:
                    self._tell(label, "missing" if method not in ours else "extra")
                else:
                    self._entry(label, ours[method], theirs[method], from_client=not told_by_server)

    def _entry(self, label: str, ours: Entry, theirs: Entry, *, from_client: bool) -> None:
        if ours.needed != theirs.needed and from_client:
            self._tell(label, f"params are {'needed' if ours.needed else 'optional'} here")
        self._type(f"{label} params", ours.params, theirs.params, from_client=from_client)
        if theirs.result and not ours.result:
            self._tell(theirs.result, "missing")
        elif theirs.result:
            self._type(
                theirs.result,
                {"$ref": f"/{ours.result}"},
                {"$ref": f"/{theirs.result}"},
                from_client=not from_client,
            )

    def _type(self, label: str, ours: Any, theirs: Any, *, from_client: bool) -> None:
        our_name, _ = self._ours.target(ours)
        their_name, _ = self._theirs.target(theirs)
        if their_name:
            label = their_name
            key = (our_name or json.dumps(ours, sort_keys=True), their_name, from_client)
            if key in self._seen:
                return
            self._seen.add(key)
        left, right = _Shape(), _Shape()
        _gather(ours, self._ours, left)
        _gather(theirs, self._theirs, right)
        if right.anything:
            return
        if left.anything:
            self._tell(label, f"any value here, {_told(right)} there")
            return
        self._scalars(label, left, right, from_client=from_client)
        for tag in sorted(left.objects.keys() | right.objects.keys()):
            place = f"{label}<{tag}>" if tag else label
            if tag not in left.objects or tag not in right.objects:
                what = "missing" if tag not in left.objects else "extra"
                self._tell(place, what if tag else f"{what}: an object")
            else:
                self._object(place, left.objects[tag], right.objects[tag], from_client=from_client)
        for kind, mine, other, mark in (
            ("a list", left.items, right.items, "[]"),
            ("a map", left.values, right.values, "{}"),
        ):
            if bool(mine) != bool(other):
                self._tell(label, f"{'missing' if other else 'extra'}: {kind}")
            elif mine:
                self._type(label + mark, mine[0], other[0], from_client=from_client)

    def _scalars(self, label: str, ours: _Shape, theirs: _Shape, *, from_client: bool) -> None:
        if ours.nullable and not theirs.nullable:
            self._tell(label, "may be null here")
        elif theirs.nullable and not ours.nullable and from_client:
            self._tell(label, "must not be null here")
        for word in sorted(theirs.words - ours.words):
            if "string" not in ours.scalars:
                self._tell(label, f"missing: {word!r}")
        if theirs.words and not ours.words and "string" in ours.scalars and "string" not in theirs.scalars:
            self._tell(label, "any text here, an enumeration there")
        for word in sorted(ours.words - theirs.words):
            if "string" not in theirs.scalars:
                self._tell(label, f"extra: {word!r}")
        covered = {"string"} if ours.words else set()
        for kind in sorted(theirs.scalars - ours.scalars - (set() if from_client else covered)):
            self._tell(label, f"missing: {kind}")
        theirs_covered = {"string"} if theirs.words else set()
        for kind in sorted(ours.scalars - theirs.scalars - theirs_covered):
            self._tell(label, f"extra: {kind}")

    def _object(self, label: str, ours: Any, theirs: Any, *, from_client: bool) -> None:
        mine, other = ours.get("properties", {}), theirs.get("properties", {})
        must, must_there = set(ours.get("required", ())), set(theirs.get("required", ()))
        for field in sorted(mine.keys() | other.keys()):
            place = f"{label}.{field}"
            if field not in other or field not in mine:
                self._tell(place, "extra" if field in mine else "missing")
                continue
            if field in must_there - must:
                self._tell(place, "optional here, required there")
            elif from_client and field in must - must_there:
                self._tell(place, "required here, optional there")
            self._field(place, mine[field], other[field], from_client=from_client)

    def _field(self, place: str, ours: Any, theirs: Any, *, from_client: bool) -> None:
        """A nullable reference is told as its target, so that the target is told of once."""
        left, right = _without_null(ours), _without_null(theirs)
        their_name, _ = self._theirs.target(right)
        if their_name and left != {}:
            if _is_nullable(ours, self._ours) and not _is_nullable(theirs, self._theirs):
                self._tell(place, "may be null here")
            elif from_client and _is_nullable(theirs, self._theirs) and not _is_nullable(ours, self._ours):
                self._tell(place, "must not be null here")
            self._type(place, left, right, from_client=from_client)
        else:
            self._type(place, ours, theirs, from_client=from_client)

    def _tell(self, where: str, what: str) -> None:
        self.found.add(Drift(where, what))


def _without_null(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        return schema | {"type": kinds[0] if len(kinds) == 1 else kinds}
    parts = schema.get("anyOf", ())
    rest = [part for part in parts if part != {"type": "null"}]
    if len(rest) == len(parts):
        return schema
    return rest[0] if len(rest) == 1 else schema | {"anyOf": rest}


def _is_nullable(schema: Any, bundle: Bundle) -> bool:
    shape = _Shape()
    _gather(schema, bundle, shape)
    return shape.nullable


def _gather(schema: Any, bundle: Bundle, shape: _Shape, *, in_union: bool = False) -> None:
    """What values a schema allows, through references and unions."""
    _, schema = bundle.target(schema)
    if not isinstance(schema, dict) or not schema.keys() - {"description", "title", "default"}:
        shape.anything = True
        return
    parts = schema.get("oneOf") or schema.get("anyOf")
    if parts and ("properties" not in schema or all(_word(part) for part in parts)):
        common = {"properties": schema.get("properties", {}), "required": schema.get("required", [])}
        several = len([part for part in parts if part != {"type": "null"}]) > 1
        for part in parts:
            _gather(_with(part, common), bundle, shape, in_union=in_union or several)
        return
    if "enum" in schema:
        for value in schema["enum"]:
            if value is None:
                shape.nullable = True
            else:
                shape.words.add(str(value))
        return
    kinds = schema.get("type", "object")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind == "null":
            shape.nullable = True
        elif kind == "array":
            shape.items.append(schema.get("items", {}))
        elif kind == "object":
            if "properties" not in schema and schema.get("additionalProperties") not in (None, False):
                shape.values.append(schema["additionalProperties"])
            else:
                shape.objects[_tag(schema) if in_union else ""] = _merged(schema, bundle)
        elif kind in _SCALARS:
            shape.scalars.add(kind)


def _with(part: Any, common: dict[str, Any]) -> Any:
    """A variant with the fields that stand beside all of them."""
    if not common["properties"]:
        return part
    return part | {
        "properties": common["properties"] | part["properties"],
        "required": [*common["required"], *part.get("required", ())],
    }


def _tag(schema: Any) -> str:
    """What tells a variant from the others: its word, or its only field."""
    properties = schema.get("properties", {})
    return _word(schema) or (next(iter(properties)) if len(properties) == 1 else "")


def _word(schema: Any) -> str:
    properties = schema.get("properties", {})
    for field in ("type", "kind", "mode"):
        words = properties.get(field, {}).get("enum", ())
        if len(words) == 1 and field in schema.get("required", ()):
            return str(words[0])
    return ""


def _merged(schema: Any, bundle: Bundle) -> Any:
    """An object with alternatives inside (`url` or `fileId`) as one object in which those are optional."""
    properties = dict(schema.get("properties", {}))
    for part in schema.get("anyOf", schema.get("oneOf", ())):
        _, inner = bundle.target(part)
        properties |= inner.get("properties", {})
    return schema | {"properties": properties}


def _told(shape: _Shape) -> str:
    kinds = [*sorted(shape.scalars)]
    kinds += ["an enumeration"] * bool(shape.words) + ["an object"] * bool(shape.objects)
    kinds += ["a list"] * bool(shape.items) + ["a map"] * bool(shape.values) + ["null"] * shape.nullable
    return " or ".join(kinds)
