"""The protocol as other languages see it: JSON Schemas and TypeScript types, made by the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from running_server import ROOT, RunningServer

from protocol.export.document import document, references
from protocol.export.naming import notification_name
from protocol.methods import METHODS, NOTIFICATIONS, SERVER_REQUESTS
from protocol.unsupported import UNSUPPORTED

Start = Callable[..., RunningServer]
NPM_S = 120


def generate(kind: str, out: Path, *options: str, seed: str = "0") -> Path:
    subprocess.run(
        [sys.executable, "-P", "-m", "supervisor", "app-server", kind, "--out", out, *options],
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
        check=True,
        timeout=60,
    )
    return out


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_every_row_has_types() -> None:
    for row in (*METHODS.values(), *SERVER_REQUESTS.values()):
        assert issubclass(row.params, msgspec.Struct), row.name
        assert issubclass(row.result, msgspec.Struct), row.name
    for row in NOTIFICATIONS.values():
        assert issubclass(row.params, msgspec.Struct), row.name


@pytest.mark.parametrize("kind", ["generate-ts", "generate-json-schema"])
def test_the_same_files_each_time(tmp_path: Path, kind: str) -> None:
    once = texts(generate(kind, tmp_path / "once"))
    again = texts(generate(kind, tmp_path / "deep" / "again", seed="4711"))
    assert once == again
    assert once != texts(generate(kind, tmp_path / "experimental", "--experimental"))


def test_a_schema_file_for_each_message_and_bundles(tmp_path: Path) -> None:
    out = generate("generate-json-schema", tmp_path)
    files = {name: json.loads(text) for name, text in texts(out).items()}
    for name, schema in files.items():
        jsonschema.Draft7Validator.check_schema(schema)
        unknown = references(schema) - set(schema.get("definitions", {})) - inner(schema)
        assert not unknown, name
    assert {"ClientRequest.json", "ServerNotification.json", "v1/InitializeParams.json"} <= files.keys()
    assert files["v2/ThreadArchiveParams.json"] == {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"threadId": {"type": "string"}},
        "required": ["threadId"],
        "title": "ThreadArchiveParams",
        "type": "object",
    }
    flat = files["codex_app_server_protocol.v2.schemas.json"]["definitions"]
    nested = files["codex_app_server_protocol.schemas.json"]["definitions"]
    assert flat.keys() == (nested.keys() - {"v2"}) | nested["v2"].keys()


def inner(schema: dict[str, Any]) -> set[str]:
    return {f"v2/{name}" for name in schema.get("definitions", {}).get("v2", {})}


def test_the_reference_page_tells_of_every_method() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    from make_reference import page  # noqa: PLC0415 - scripts are no package

    text = page()
    for row in (*METHODS.values(), *NOTIFICATIONS.values(), *SERVER_REQUESTS.values()):
        assert f"### `{row.name}`\n" in text
    assert all(f"`{name}`" in text for name in UNSUPPORTED)


def test_optional_in_params_always_there_in_results() -> None:
    definitions = document(experimental=True).definitions
    params, result = definitions["ThreadStartParams"], definitions["Thread"]
    assert "required" not in params
    assert params["properties"]["cwd"] == {"type": ["string", "null"]}
    assert set(result["required"]) == result["properties"].keys()
    # The one kind of message that leaves out what is absent.
    assert "reason" not in definitions["CommandExecutionRequestApprovalParams"]["required"]


def test_unions_are_told_apart_by_their_tag() -> None:
    status = document(experimental=False).definitions["ThreadStatus"]
    titles = [part["title"] for part in status["oneOf"]]
    assert titles == [
        "NotLoadedThreadStatus",
        "IdleThreadStatus",
        "SystemErrorThreadStatus",
        "ActiveThreadStatus",
    ]
    assert all("type" in part["required"] for part in status["oneOf"])


def test_the_stable_export_leaves_out_what_is_experimental() -> None:
    stable, whole = document(experimental=False), document(experimental=True)
    assert "environments" not in stable.definitions["Thread"]["properties"]
    assert "environments" in whole.definitions["Thread"]["properties"]
    assert not [name for name in stable.params if METHODS[name].experimental]
    assert whole.params.keys() == METHODS.keys()


def test_what_the_server_says_fits_what_it_exports(server: Start) -> None:
    whole = document(experimental=True)
    client = server()
    asked: dict[Any, str] = {}

    def request(method: str, params: Any) -> Any:
        identity = client.start_request(method, params)
        asked[identity] = method
        return client.result(identity)

    thread = request("thread/start", {"sandbox": "danger-full-access", "approvalPolicy": "never"})["thread"][
        "id"
    ]
    client.turn(thread, '[[{"call": "exec_command", "arguments": {"cmd": "echo hello"}}, "done"]]')
    request("thread/name/set", {"threadId": thread, "name": "a name"})
    request("thread/read", {"threadId": thread, "includeTurns": True})
    request("thread/list", {})
    request("thread/loaded/list", {})
    request("model/list", {})
    request("thread/resume", {"threadId": thread})
    request("thread/archive", {"threadId": thread})
    told = set()
    for line in client.received():
        assert line.message is not None
        if "method" in line.message:
            told.add(line.message["method"])
            name = notification_name(line.message["method"])
            check(line.message["params"], name, whole.definitions)
        elif line.message["id"] in asked and "result" in line.message:
            method = asked[line.message["id"]]
            told.add(method)
            check(line.message["result"], whole.results[method], whole.definitions)
    assert {"thread/read", "thread/started", "item/completed", "turn/completed"} <= told


def check(value: Any, name: str, definitions: dict[str, Any]) -> None:
    schema = strict(definitions)
    jsonschema.Draft7Validator({"$ref": f"#/definitions/{name}", "definitions": schema}).validate(value)


def strict(schema: Any) -> Any:
    """As it is, but an object has no fields that the schema does not know."""
    if isinstance(schema, dict):
        copy = {key: value if key == "default" else strict(value) for key, value in schema.items()}
        if copy.get("type") == "object" and isinstance(copy.get("properties"), dict):
            copy.setdefault("additionalProperties", False)
        return copy
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    return schema


@pytest.fixture(scope="session")
def tsc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript compiler, where npm can give it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm here")
    folder = tmp_path_factory.mktemp("typescript")
    command = [npm, "install", "--prefix", folder, "--no-audit", "--no-fund", "--silent", "typescript@5"]
    try:
        got = subprocess.run(command, capture_output=True, timeout=NPM_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not answer in time")
    if got.returncode:
        pytest.skip("npm could not give the TypeScript compiler")
    return folder / "node_modules/.bin/tsc"


CONSUMER = """
import type { ClientRequest, ClientResults, ServerNotification, v2 } from "./index";

export const start: ClientRequest = { id: "1", method: "thread/start", params: { cwd: "/", sandbox: "read-only" } };
export function text(notification: ServerNotification): string | null {
  switch (notification.method) {
    case "item/agentMessage/delta": return notification.params.delta;
    case "item/completed": {
      const item: v2.ThreadItem = notification.params.item;
      return item.type === "commandExecution" ? item.aggregatedOutput : null;
    }
    default: return null;
  }
}
export const name = (result: ClientResults["thread/read"]): string | null => result.thread.name;
"""
WRONG = [
    'import type { ClientRequest } from "./index"; export const a: ClientRequest = { id: 1, method: "no/such" };',
    'import type { v2 } from "./index"; export const a: v2.ThreadReadParams = {};',
    'import type { v2 } from "./index"; export const a = (t: v2.Thread): string => t.name;',
]


def test_the_types_compile_and_tell_right_from_wrong(tmp_path: Path, tsc: Path) -> None:
    stable = generate("generate-ts", tmp_path / "stable")
    whole = generate("generate-ts", tmp_path / "whole", "--experimental")
    for out in (stable, whole):
        (out / "consumer.ts").write_text(CONSUMER)
    for number, wrong in enumerate(WRONG):
        (whole / f"wrong{number}.ts").write_text(wrong)
    assert compiles(tsc, stable) == ""
    told = {
        line.partition("(")[0].rpartition("/")[2]
        for line in compiles(tsc, whole).splitlines()
        if "error" in line
    }
    assert told == {f"wrong{number}.ts" for number in range(len(WRONG))}


def compiles(tsc: Path, folder: Path) -> str:
    """What the compiler says about all files of a folder."""
    options = {
        "strict": True,
        "noEmit": True,
        "module": "esnext",
        "moduleResolution": "bundler",
        "types": [],
        "lib": ["es2020"],
        "skipLibCheck": True,
    }
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    done = subprocess.run(
        [tsc, "--project", folder], capture_output=True, text=True, timeout=NPM_S, check=False
    )
    return done.stdout
