"""The whole protocol as one set of definitions, from the tables of methods.

Beside the types of the rows it has the envelopes: `ClientRequest`, `ServerRequest`, `ServerNotification` and
`ClientNotification` list the methods, `JSONRPC*` describe a line.
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.base import NoParams, OptionalParams
from protocol.experimental import FIELDS
from protocol.export.naming import Names, notification_name, params_name, pascal, response_name
from protocol.export.schema import REF, Compiler, Schema, reachable
from protocol.methods import METHODS, NOTIFICATIONS, SERVER_REQUESTS, Method

__all__ = ["Document", "document", "references"]

AT_ROOT = frozenset(
    (
        "AbsolutePathBuf", "AuthMode", "ClientInfo", "CollaborationMode", "ImageDetail", "InitializeCapabilities",
        "InitializeParams", "InitializeResponse", "InputModality", "MessagePhase", "ModeKind", "MultiAgentMode",
        "NetworkPolicyAmendment", "NetworkPolicyRuleAction", "ParsedCommand", "Personality", "PlanType",
        "ReasoningEffort", "ReasoningSummary", "RequestId", "ResponseItem", "ReviewDecision", "SessionSource",
        "Settings", "ThreadId", "Verbosity", "WebSearchAction", "WebSearchMode",
    )
)  # fmt: skip
"""Types that clients import from the top folder, as in the peer's; so are those of server requests and envelopes."""

_TEXT: Schema = {"type": "string"}


class Document(msgspec.Struct, frozen=True):
    """`definitions` by name; `roots`: those that stand on a line of their own; `outer`: in the top folder."""

    definitions: dict[str, Schema]
    roots: frozenset[str]
    outer: frozenset[str]
    results: dict[str, str]
    """Method of a client -> the name of its result."""
    params: dict[str, str | None]
    """Method of a client -> the name of its params, or None where it takes none."""


def document(*, experimental: bool) -> Document:
    """All that is stable, or all."""
    methods = [row for row in METHODS.values() if experimental or not row.experimental]
    notices = [row for row in NOTIFICATIONS.values() if experimental or not row.experimental]
    asked = [row for row in SERVER_REQUESTS.values() if experimental or not row.experimental]
    inputs = [row.params for row in methods] + [row.result for row in asked]
    outputs = (
        [row.result for row in methods] + [row.params for row in notices] + [row.params for row in asked]
    )
    named: dict[str, Any] = {notification_name(row.name): row.params for row in notices}
    named |= {params_name(row.name): row.params for row in asked}
    named |= {response_name(row.name): row.result for row in asked}
    # A class that has the outside name already keeps it.
    taken = [name for name, cls in named.items() if getattr(cls, "__name__", "") != name]
    names = Names(reachable([*inputs, *outputs]), [*taken, *_ENVELOPES, *_LISTS])
    compiler = Compiler(names, reachable(inputs))
    for name, cls in named.items():
        compiler.define(name, cls)
    params: dict[str, str | None] = {}
    results = {}
    for row in methods:
        params[row.name] = None if row.params is NoParams else _params_of(row, compiler)
        results[row.name] = _result_of(row, compiler)
    definitions = compiler.definitions
    definitions |= _ENVELOPES
    definitions["ClientRequest"] = _list_of(
        "Request from the client to the server.",
        "Request",
        [_request(row, params[row.name]) for row in methods],
    )
    definitions["ServerRequest"] = _list_of(
        "Request of the server to the client.",
        "Request",
        [(row.name, params_name(row.name), True) for row in asked],
    )
    definitions["ServerNotification"] = _list_of(
        "Notification of the server.",
        "Notification",
        [(row.name, notification_name(row.name), True) for row in notices],
    ) | {"properties": {"emittedAtMs": {"format": "int64", "type": "integer"}}}
    definitions["ClientNotification"] = _list_of("", "Notification", [("initialized", None, False)])
    if not experimental:
        _drop_experimental(definitions)
    roots = {*named, *results.values(), *_ENVELOPES, *_LISTS, *(name for name in params.values() if name)}
    outer = {*_ENVELOPES, *_LISTS, *(name for name in definitions if name in AT_ROOT)}
    outer |= {make(row.name) for row in asked for make in (params_name, response_name)}
    outer |= {
        name
        for row in methods
        if "/" not in row.name
        for name in (params[row.name], results[row.name])
        if name
    }
    outer |= {name for name in definitions if name.startswith("FuzzyFileSearch")}
    return Document(
        definitions=_without_strays(definitions, roots),
        roots=frozenset(roots),
        outer=frozenset(outer & definitions.keys()),
        results=results,
        params=params,
    )


def _params_of(row: Method, compiler: Compiler) -> str:
    return compiler.root(row.params, "Params", pascal(row.name) + "Params")


def _result_of(row: Method, compiler: Compiler) -> str:
    if row.params.__name__.endswith("Params") and row.params is not NoParams:
        otherwise = row.params.__name__.removesuffix("Params") + "Response"
    else:
        otherwise = pascal(row.name) + "Response"
    return compiler.root(row.result, "Response", otherwise)


def _request(row: Method, params: str | None) -> tuple[str, str | None, bool]:
    return row.name, params, not issubclass(row.params, OptionalParams)


def _list_of(description: str, suffix: str, rows: list[tuple[str, str | None, bool]]) -> Schema:
    """A union over methods. A row: the method, the name of its params, whether they must be there."""
    several = []
    for method, params, needed in rows:
        title = method[:1].upper() + method[1:] + suffix
        properties: Schema = {"method": {"enum": [method], "title": title + "Method", "type": "string"}}
        required = ["method"]
        if suffix == "Request":
            properties["id"] = {"$ref": REF + "RequestId"}
            required.insert(0, "id")
        if params is not None:
            reference: Schema = {"$ref": REF + params}
            properties["params"] = reference if needed else {"anyOf": [reference, {"type": "null"}]}
        elif suffix == "Request":
            properties["params"] = {"type": "null"}
        if needed:
            required.append("params")
        several.append(
            {
                "properties": dict(sorted(properties.items())),
                "required": required,
                "title": title,
                "type": "object",
            }
        )
    schema: Schema = {"oneOf": several}
    return {"description": description} | schema if description else schema


def _drop_experimental(definitions: dict[str, Schema]) -> None:
    for name, fields in FIELDS.items():
        schema = definitions.get(name, {})
        for field in fields:
            schema.get("properties", {}).pop(field, None)
            if field in schema.get("required", ()):
                schema["required"].remove(field)


def _without_strays(definitions: dict[str, Schema], roots: set[str]) -> dict[str, Schema]:
    """Only what the roots lead to, sorted."""
    kept: set[str] = set()
    waiting = [*roots]
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            waiting.extend(references(definitions[name]))
    return {name: definitions[name] for name in sorted(kept)}


def references(schema: Any) -> set[str]:
    """The names of the definitions that a schema refers to directly."""
    if isinstance(schema, dict):
        found = {schema["$ref"].removeprefix(REF)} if isinstance(schema.get("$ref"), str) else set()
        return found.union(*(references(value) for key, value in schema.items() if key != "default"))
    if isinstance(schema, list):
        return set().union(*(references(value) for value in schema))
    return set()


def _object(required: str, **properties: Schema) -> Schema:
    return {"properties": properties, "required": required.split(), "type": "object"}


_ID: Schema = {"$ref": REF + "RequestId"}
_ENVELOPES: dict[str, Schema] = {
    "RequestId": {"anyOf": [_TEXT, {"format": "int64", "type": "integer"}]},
    "JSONRPCErrorError": _object(
        "code message", code={"format": "int64", "type": "integer"}, data={}, message=_TEXT
    ),
    "JSONRPCError": _object("error id", error={"$ref": REF + "JSONRPCErrorError"}, id=_ID),
    "JSONRPCNotification": _object("method", method=_TEXT, params={}),
    "JSONRPCRequest": _object("id method", id=_ID, method=_TEXT, params={}),
    "JSONRPCResponse": _object("id result", id=_ID, result={}),
    "JSONRPCMessage": {
        "anyOf": [
            {"$ref": REF + name}
            for name in ("JSONRPCRequest", "JSONRPCNotification", "JSONRPCResponse", "JSONRPCError")
        ]
    },
}
_LISTS = ("ClientRequest", "ServerRequest", "ServerNotification", "ClientNotification")
