#!/usr/bin/env python3
"""Writes docs/reference.md from the tables of methods.

make_reference.py            write it
make_reference.py --check    only say whether it is up to date (exit code 1: it is not)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from protocol.export.document import Document, document  # noqa: E402 - the path to it is set above
from protocol.export.naming import notification_name, params_name, response_name  # noqa: E402
from protocol.export.typescript import type_text  # noqa: E402
from protocol.methods import METHODS, NOTIFICATIONS, SERVER_REQUESTS, Method, Order, Owner  # noqa: E402
from protocol.unsupported import GROUPS  # noqa: E402
from protocol.v1.methods import V1_METHODS  # noqa: E402

PAGE = ROOT / "docs" / "reference.md"
WIDTH = 100
"""A type that fits this many columns stands on one line."""
DEPTH = 2
"""Below this, objects of an example are cut short."""

HEAD = """# Reference of the protocol

Generated from `protocol/methods.py` and `protocol/unsupported.py` by `make reference`; not edited by hand.

A line is one JSON object. A request is `{{"id": 1, "method": "...", "params": {{...}}}}`, its answer
`{{"id": 1, "result": {{...}}}}` or `{{"error": {{"code": -32600, "message": "..."}}, "id": 1}}`. Types are written as in TypeScript
(`bulkhead app-server generate-ts` writes them to files); `?` may be left out. What the server sends has every field
that has no `?`, null or not. {methods} methods, {notifications} notifications, {requests} requests of the server.

## Errors

| code | message | when |
|---|---|---|
| -32600 | ``Invalid request: unknown variant `NAME`, expected one of ...`` | no such method |
| -32600 | `Not initialized`, `Already initialized` | anything before `initialize`; a second `initialize` |
| -32600 | `METHOD requires experimentalApi capability` | an experimental method, and the client did not ask for those |
| -32600 | ``Invalid request: missing field `NAME` ``, `Invalid request: invalid type: ...` | params that do not fit their type |
| -32600 | other texts | what is asked for is not there, or not possible now |
| -32601 | `METHOD is not supported: REASON` | a method that is [left out](#methods-that-are-left-out) |
| -32603 | other texts | the server could not do it: a file, a process, a service failed |
| -32001 | with `data` that names `server_overloaded` | too much is waiting; ask again later |

Methods of one thread also fail with -32600 `invalid thread id: ...` when the id is none, `thread not found: ID` when the
thread is not loaded and the method does not load it, and -32603 when the thread is quarantined.

"""

ENVELOPES = frozenset(
    (
        "ClientNotification", "ClientRequest", "JSONRPCError", "JSONRPCErrorError", "JSONRPCMessage",
        "JSONRPCNotification", "JSONRPCRequest", "JSONRPCResponse", "ServerNotification", "ServerRequest",
    )
)  # fmt: skip
"""Described in the first lines of the page."""
OWNERS = {
    Owner.FRONT: "the front",
    Owner.WORKER: "the worker of the thread",
    Owner.CATALOG: "a worker without a thread",
    Owner.HOST: "the connection's worker for the machine",
}
ORDERS = {
    Order.CONNECTION: "after all requests before it on the connection",
    Order.THREAD: "in order with other requests of the thread",
    Order.CONFIG: "in order with other reads and writes of the configuration",
    Order.NEW_THREAD: "at once; it makes a new thread",
    Order.NONE: "at once",
}


def page() -> str:
    whole = document(experimental=True)
    parts = [
        HEAD.format(methods=len(METHODS), notifications=len(NOTIFICATIONS), requests=len(SERVER_REQUESTS)),
        "## Methods\n",
    ]
    parts += [_method(row, whole) for row in METHODS.values()]
    parts.append(
        "## Requests of the server\n\nThe client answers them with a result of the type given, or with an error.\n"
    )
    for asked in SERVER_REQUESTS.values():
        body = _types(whole, params=params_name(asked.name), result=response_name(asked.name))
        parts.append(f"### `{asked.name}`\n\n{_marked(asked)}{body}")
    parts.append("## Notifications\n")
    for notice in NOTIFICATIONS.values():
        body = _types(whole, params=notification_name(notice.name))
        parts.append(f"### `{notice.name}`\n\n{_marked(notice)}{body}")
    parts.append(_older())
    parts.append(_left_out())
    parts.append(_shared(whole))
    return "\n".join(parts)


def _method(row: Method, whole: Document) -> str:
    params, result = whole.params[row.name], whole.results[row.name]
    owner = OWNERS.get(row.owner, f"the {row.owner.value}")
    order = ORDERS.get(row.order, f"in order with others of the same {row.order.value}")
    text = f"### `{row.name}`\n\n{_marked(row)}Answered by {owner}, {order}.\n"
    for name in (params, result):
        said = whole.definitions[name].get("description") if name else None
        if said:
            text += f"\n{said}\n"
    text += "\n" + _types(whole, params=params, result=result)
    request: dict[str, Any] = {"id": 1, "method": row.name}
    if params is not None:
        request["params"] = _example(whole.definitions[params], whole)
    answer = {"id": 1, "result": _example(whole.definitions[result], whole)}
    return text + f"\n```json\n{json.dumps(request)}\n{json.dumps(answer)}\n```\n"


def _marked(row: Any) -> str:
    return "*Experimental.* " if row.experimental else ""


def _types(whole: Document, **names: str | None) -> str:
    lines = []
    for label, name in names.items():
        if name is not None:
            lines.append(f"{label}: {_pretty(whole.definitions[name])}")
    return "```ts\n" + "\n".join(lines) + "\n```\n" if lines else ""


def _pretty(schema: Any) -> str:
    line = type_text(schema)
    if len(line) <= WIDTH:
        return line
    if schema.get("type") == "object" and "properties" in schema:
        must = schema.get("required", ())
        fields = (
            f"  {name}{'' if name in must else '?'}: {type_text(part)};\n"
            for name, part in schema["properties"].items()
        )
        return "{\n" + "".join(fields) + "}"
    parts = schema.get("oneOf") or schema.get("anyOf") or ()
    return "\n" + "\n".join(f"  | {type_text(part)}" for part in parts) if parts else line


def _example(schema: Any, whole: Document, depth: int = 0, name: str = "") -> Any:
    """A value of the type: required fields only, and nothing deep."""
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        target = whole.definitions[schema["$ref"].rpartition("/")[2]]
        return _example(target, whole, depth, name)
    for union in ("oneOf", "anyOf", "allOf"):
        if union in schema:
            parts = schema[union]
            return None if {"type": "null"} in parts else _example(parts[0], whole, depth, name)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, list):
        return None
    if kind == "object":
        fields = schema.get("properties", {})
        if depth >= DEPTH and len(fields) > DEPTH:
            return {"...": "..."}
        must = schema.get("required", ())
        return {
            field: _example(part, whole, depth + 1, field) for field, part in fields.items() if field in must
        }
    if kind == "array":
        plain = not isinstance(schema.get("items"), dict) or schema["items"].get("type") in (
            "string",
            "integer",
        )
        return [] if plain or depth >= DEPTH else [_example(schema.get("items"), whole, depth + 1, name)]
    return {"string": _word(name), "integer": 1, "number": 1.0, "boolean": False}.get(str(kind))


_ID = "019ab5d3-7f2c-7c3e-9d1a-6b1f0c2d4e5f"


def _word(name: str) -> str:
    if name in ("threadId", "id", "sessionId"):
        return _ID
    if name in ("path", "cwd"):
        return "/home/user/project"
    return "hello" if name == "text" else name or "text"


def _older() -> str:
    names = ", ".join(f"`{name}`" for name in sorted(V1_METHODS.keys() - METHODS.keys()))
    return f"## Methods of Codex 0.58\n\n[Served for old clients](old-clients.md), over the methods above: {names}.\n"


def _left_out() -> str:
    rows = [
        "## Methods that are left out\n",
        "They are refused with -32601 and the reason. *Italics*: experimental ones.\n",
        "| what | methods | reason |",
        "|---|---|---|",
    ]
    for group in sorted(GROUPS, key=lambda group: group.subject):
        names = [f"`{name}`" for name in group.stable] + [f"*`{name}`*" for name in group.experimental]
        rows.append(f"| {group.subject} | {', '.join(names)} | {group.because} |")
    return "\n".join(rows) + "\n"


def _shared(whole: Document) -> str:
    shown = {notification_name(row.name) for row in NOTIFICATIONS.values()}
    shown |= {make(row.name) for row in SERVER_REQUESTS.values() for make in (params_name, response_name)}
    shown |= {name for name in (*whole.params.values(), *whole.results.values()) if name}
    rest = [name for name in whole.definitions if name not in shown and name not in ENVELOPES]
    lines = [f"type {name} = {_pretty(whole.definitions[name])}" for name in rest]
    return "## Types\n\n```ts\n" + "\n".join(lines) + "\n```\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    text = page()
    if not options.check:
        PAGE.write_text(text)
        return 0
    if not PAGE.exists() or PAGE.read_text() != text:
        print(f"{PAGE.relative_to(ROOT)} is not up to date: run make reference")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
