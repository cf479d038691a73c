"""An exported protocol as this comparison sees it: definitions by name, and what each method takes and gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

BUNDLE = "codex_app_server_protocol.schemas.json"

_RESULTS = {
    "account/logout": "LogoutAccountResponse",
    "accountSession/list": "AccountSessionsResponse",
    "config/batchWrite": "ConfigWriteResponse",
    "config/mcpServer/reload": "McpServerRefreshResponse",
    "config/value/write": "ConfigWriteResponse",
}
"""Results whose name follows neither from the params nor from the method."""


class Entry(msgspec.Struct, frozen=True):
    """A message of one method. `result`: the name of the type that answers it, if requests have one."""

    method: str
    params: Any
    needed: bool
    result: str = ""


class Bundle(msgspec.Struct):
    definitions: dict[str, Any]
    requests: dict[str, Entry]
    server_requests: dict[str, Entry]
    notifications: dict[str, Entry]

    def target(self, schema: Any) -> tuple[str, Any]:
        """The name of what a schema refers to, if it does, and the schema itself."""
        name = ""
        while isinstance(schema, dict):
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                schema = self.definitions[name]
            elif len(schema.get("allOf", ())) == 1:
                schema = schema["allOf"][0]
            else:
                break
        return name, {} if schema is True else schema


def load_bundle(folder: Path) -> Bundle:
    """The bundle of an export; raises OSError or ValueError when there is none."""
    definitions: dict[str, Any] = dict(json.loads((folder / BUNDLE).read_text())["definitions"])
    definitions = {**definitions.pop("v2", {}), **definitions}
    return Bundle(
        definitions=definitions,
        requests=_entries(definitions, "ClientRequest"),
        server_requests=_entries(definitions, "ServerRequest"),
        notifications=_entries(definitions, "ServerNotification"),
    )


def _entries(definitions: dict[str, Any], name: str) -> dict[str, Entry]:
    entries = {}
    for variant in definitions[name]["oneOf"]:
        method = variant["properties"]["method"]["enum"][0]
        params = variant["properties"].get("params", {"type": "null"})
        entries[method] = Entry(
            method, params, "params" in variant["required"], _result(method, params, definitions)
        )
    return entries


def _result(method: str, params: Any, definitions: dict[str, Any]) -> str:
    reference = params if "$ref" in params else next(iter(params.get("anyOf", ())), {})
    of_params = reference.get("$ref", "").rpartition("/")[2].removesuffix("Params") + "Response"
    words = method.replace("_", "/").split("/")
    of_method = "".join(word[:1].upper() + word[1:] for word in words) + "Response"
    candidates = (_RESULTS.get(method, ""), of_params, of_method, f"Get{of_method}")
    return next((name for name in candidates if name in definitions), "")
