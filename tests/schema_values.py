"""Hypothesis strategies for the values that an exported schema allows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Values = st.SearchStrategy[Any]

DEPTH = 6
"""Below this only what is required is made, so that types which hold themselves come to an end."""
INT64 = 2**63
LETTERS = "abcdefgh "


def values(schema: Any, definitions: dict[str, Any], texts: Values, depth: int = 0) -> Values:
    """Values of `schema`; its strings are those of `texts`, so that a test says which files and threads they name."""

    def inner(part: Any) -> Values:
        return values(part, definitions, texts, depth + 1)

    if not isinstance(schema, dict) or not schema.keys() - {"description", "title", "default"}:
        return anything(texts)
    if "$ref" in schema:
        return st.deferred(lambda: inner(definitions[schema["$ref"].rpartition("/")[2]]))
    for union in ("oneOf", "anyOf"):
        if union in schema:
            return st.one_of([inner(part) for part in schema[union]])
    if "allOf" in schema:
        return inner(schema["allOf"][0])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return st.one_of([values(schema | {"type": kind}, definitions, texts, depth) for kind in kinds])
    if kinds == "string":
        return texts.filter(bool) if schema.get("minLength") else texts
    if kinds == "integer":
        lowest, highest = schema.get("minimum", -INT64), schema.get("maximum", INT64 - 1)
        return st.integers(max(lowest, -3), min(highest, 100)) | st.integers(lowest, highest)
    if kinds == "array":
        return st.lists(inner(schema.get("items")), min_size=schema.get("minItems", 0), max_size=2)
    if kinds == "object":
        return _objects(schema, definitions, texts, depth)
    return {"null": st.none(), "boolean": st.booleans(), "number": st.floats(-1e9, 1e9)}[str(kinds)]


def anything(texts: Values) -> Values:
    scalars = st.none() | st.booleans() | st.integers(-INT64, INT64 - 1) | texts
    return st.recursive(
        scalars,
        lambda some: st.lists(some, max_size=2) | st.dictionaries(texts, some, max_size=2),
        max_leaves=4,
    )


def _objects(schema: Any, definitions: dict[str, Any], texts: Values, depth: int) -> Values:
    fields = schema.get("properties", {})
    if not fields and "additionalProperties" in schema:
        some = values(schema["additionalProperties"], definitions, texts, depth + 1)
        return st.dictionaries(texts, some, max_size=2)
    made = {name: values(part, definitions, texts, depth + 1) for name, part in fields.items()}
    must = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: some for name, some in made.items() if name in must},
        optional={} if depth > DEPTH else {name: some for name, some in made.items() if name not in must},
    )
