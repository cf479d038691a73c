"""The files of `generate-ts`: one for each type, and an index for each folder.

Optional is what a sender may leave out (`?`); `null` stands where it may be written. Names and places are the peer's, so
that imports from its bindings hold for these.
"""

from __future__ import annotations

import json
import re
from typing import Any

from protocol.export.document import Document, references
from protocol.export.schema import REF, Schema

__all__ = ["type_text", "typescript_files"]

_HEAD = "// Generated from the tables of methods of Bulkhead. Not to be edited.\n\n"
_JSON_VALUE = """export type JsonValue = number | string | boolean | Array<JsonValue> | { [key in string]?: JsonValue } | null;
"""
_PRIMITIVES = {
    "string": "string",
    "boolean": "boolean",
    "integer": "number",
    "number": "number",
    "null": "null",
}
_PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")
_ANYTHING = "JsonValue"


def typescript_files(document: Document) -> dict[str, str]:
    """Path in the output folder -> text."""
    files = {"serde_json/JsonValue.ts": _HEAD + _JSON_VALUE}
    outer: list[str] = []
    inner: list[str] = []
    for name, schema in document.definitions.items():
        top = name in document.outer
        (outer if top else inner).append(name)
        files[f"{name}.ts" if top else f"v2/{name}.ts"] = _file(name, schema, document)
    files["ClientResults.ts"] = _results(document.results, document)
    outer.append("ClientResults")
    files["index.ts"] = _index(outer) + 'export * as v2 from "./v2";\n'
    files["v2/index.ts"] = _index(inner)
    return dict(sorted(files.items()))


def _index(names: list[str]) -> str:
    return _HEAD + "".join(f'export type {{ {name} }} from "./{name}";\n' for name in sorted(names))


def _file(name: str, schema: Schema, document: Document) -> str:
    body = type_text(schema)
    top = name in document.outer
    imports = [_import(other, document, top=top) for other in sorted(references(schema) - {name})]
    if re.search(rf"\b{_ANYTHING}\b", body):
        imports.append(f'import type {{ JsonValue }} from "{"." if top else ".."}/serde_json/JsonValue";\n')
    comment = f"/** {_comment(schema['description'])} */\n" if schema.get("description") else ""
    if imports:
        imports.append("\n")
    return f"{_HEAD}{''.join(imports)}{comment}export type {name} = {body};\n"


def _results(results: dict[str, str], document: Document) -> str:
    """Which result answers which method; the peer's bindings do not tell."""
    imports = [_import(name, document, top=True) for name in sorted(set(results.values()))]
    rows = "".join(f"  {json.dumps(method)}: {name};\n" for method, name in results.items())
    return f"{_HEAD}{''.join(imports)}\n/** The result of each method. */\nexport type ClientResults = {{\n{rows}}};\n"


def _import(name: str, document: Document, *, top: bool) -> str:
    there = name in document.outer
    folder = ("." if there else "./v2") if top else (".." if there else ".")
    return f'import type {{ {name} }} from "{folder}/{name}";\n'


def type_text(schema: Any) -> str:
    """A schema as a TypeScript type; what it refers to by name."""
    if schema is True or not isinstance(schema, dict):
        return _ANYTHING
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REF)
    for key in ("oneOf", "anyOf"):
        if key in schema:
            union = " | ".join(dict.fromkeys(type_text(part) for part in schema[key]))
            if "properties" in schema:
                return f"{_object(schema)} & ({union})"
            return union
    if "allOf" in schema:
        return " & ".join(type_text(part) for part in schema["allOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    kinds = schema.get("type")
    if kinds is None:
        return _ANYTHING
    if isinstance(kinds, list):
        return " | ".join(type_text(schema | {"type": kind}) for kind in kinds)
    if kinds == "array":
        return f"Array<{type_text(schema.get('items', True))}>"
    if kinds == "object":
        return _object(schema)
    return _PRIMITIVES[kinds]


def _object(schema: Schema) -> str:
    if "properties" not in schema:
        if "additionalProperties" in schema:
            return f"{{ [key in string]?: {type_text(schema['additionalProperties'])} }}"
        return "Record<string, never>"
    required = schema.get("required", ())
    fields = [
        f"{key if _PLAIN_KEY.match(key) else json.dumps(key)}{'' if key in required else '?'}: {type_text(value)}"
        for key, value in schema["properties"].items()
    ]
    return "{ " + "; ".join(fields) + " }"


def _comment(text: str) -> str:
    return text.replace("*/", "* /")
