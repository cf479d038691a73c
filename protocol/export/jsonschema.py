"""The files of `generate-json-schema`: one for each message, and bundles with everything.

    ClientRequest.json, ...                         envelopes, server requests and their answers
    v1/, v2/                                        params, results and notifications
    codex_app_server_protocol.schemas.json          all definitions, those of v2 under `definitions.v2`
    codex_app_server_protocol.v2.schemas.json       all definitions in one flat list

Each file is whole in itself: what it refers to stands in its `definitions`. Names and places are the peer's, so that
scripts which read its files read these.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from protocol.export.document import Document, references
from protocol.export.schema import REF, Schema

__all__ = ["json_files"]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_BUNDLE = "codex_app_server_protocol"
_V1 = frozenset(("InitializeParams", "InitializeResponse"))


def json_files(document: Document) -> dict[str, str]:
    """Path in the output folder -> text."""
    files = {}
    for name in sorted(document.roots):
        folder = "v1/" if name in _V1 else "" if name in document.outer else "v2/"
        files[f"{folder}{name}.json"] = _text(_alone(document, name))
    flat = {"$schema": _DRAFT, "definitions": document.definitions, "title": "CodexAppServerProtocolV2"}
    files[f"{_BUNDLE}.v2.schemas.json"] = _text(flat | {"type": "object"})
    files[f"{_BUNDLE}.schemas.json"] = _text(_nested(document))
    return files


def _alone(document: Document, name: str) -> Schema:
    schema = {"$schema": _DRAFT, "title": name, **document.definitions[name]}
    needed: set[str] = set()
    waiting = references(schema)
    while waiting:
        needed |= waiting
        waiting = set().union(*(references(document.definitions[other]) for other in waiting)) - needed
    if needed:
        schema["definitions"] = {other: document.definitions[other] for other in sorted(needed)}
    return dict(sorted(schema.items()))


def _nested(document: Document) -> Schema:
    outer: Schema = {}
    inner: Schema = {}
    for name, schema in document.definitions.items():
        moved = _moved(copy.deepcopy(schema), document.outer)
        (outer if name in document.outer else inner)[name] = moved
    return {
        "$schema": _DRAFT,
        "definitions": {**outer, "v2": inner},
        "title": "CodexAppServerProtocol",
        "type": "object",
    }


def _moved(schema: Any, outer: frozenset[str]) -> Any:
    """References to inner definitions get `v2/`."""
    if isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str) and target.removeprefix(REF) not in outer:
            schema["$ref"] = f"{REF}v2/{target.removeprefix(REF)}"
        for value in schema.values():
            _moved(value, outer)
    elif isinstance(schema, list):
        for value in schema:
            _moved(value, outer)
    return schema


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
