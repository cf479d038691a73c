"""The comparison of exported protocols finds what differs and nothing else."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

from schema_bundle import BUNDLE, load_bundle  # noqa: E402 - scripts are no package
from schema_walk import Walk  # noqa: E402

from protocol.export.document import document  # noqa: E402
from protocol.export.jsonschema import json_files  # noqa: E402

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def exported() -> Tree:
    tree = json.loads(json_files(document(experimental=True))[BUNDLE])
    assert isinstance(tree, dict)
    return tree


def drifts(tmp_path: Path, ours: Tree, theirs: Tree) -> list[str]:
    bundles = []
    for name, tree in (("ours", ours), ("theirs", theirs)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / BUNDLE).write_text(json.dumps(tree))
        bundles.append(load_bundle(tmp_path / name))
    walk = Walk(*bundles)
    walk.compare()
    return [str(drift) for drift in sorted(walk.found)]


def test_nothing_differs_from_itself(tmp_path: Path, exported: Tree) -> None:
    assert drifts(tmp_path, exported, exported) == []


def without_a_field(types: Tree) -> None:
    del types["Thread"]["properties"]["preview"]


def with_a_field(types: Tree) -> None:
    types["Thread"]["properties"]["colour"] = {"type": "string"}


def without_a_word(types: Tree) -> None:
    types["TurnStatus"]["enum"].remove("interrupted")


def without_a_variant(types: Tree) -> None:
    types["ThreadStatus"]["oneOf"].pop(0)


def with_another_type(types: Tree) -> None:
    types["Thread"]["properties"]["createdAt"] = {"type": "string"}


def without_null(types: Tree) -> None:
    types["ThreadStartParams"]["properties"]["cwd"] = {"type": "string"}


def with_null(types: Tree) -> None:
    types["Thread"]["properties"]["preview"] = {"type": ["string", "null"]}


def less_required(types: Tree) -> None:
    types["TurnSteerParams"]["required"].remove("expectedTurnId")


def untyped(types: Tree) -> None:
    types["Thread"]["properties"]["gitInfo"] = {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_a_field, ["Thread.preview: missing"]),
        (with_a_field, ["Thread.colour: extra"]),
        (without_a_word, ["TurnStatus: missing: 'interrupted'"]),
        (without_a_variant, ["ThreadStatus<notLoaded>: missing"]),
        (with_another_type, ["Thread.createdAt: extra: string", "Thread.createdAt: missing: integer"]),
        (without_null, ["ThreadStartParams.cwd: must not be null here"]),
        (with_null, ["Thread.preview: may be null here"]),
        (less_required, ["TurnSteerParams.expectedTurnId: optional here, required there"]),
        (untyped, ["Thread.gitInfo: any value here, an object or null there"]),
    ],
)
def test_a_change_is_told_by_type_and_field(
    tmp_path: Path, exported: Tree, change: Callable[[Tree], None], told: list[str]
) -> None:
    ours = copy.deepcopy(exported)
    change(ours["definitions"]["v2"])
    found = drifts(tmp_path, ours, exported)
    assert set(told) <= set(found)
    assert len(found) <= len(told) + 1  # a type used both ways is told once for each


def test_a_method_that_is_not_there_is_told(tmp_path: Path, exported: Tree) -> None:
    ours = copy.deepcopy(exported)
    requests = ours["definitions"]["ClientRequest"]["oneOf"]
    requests[:] = [part for part in requests if part["properties"]["method"]["enum"] != ["turn/steer"]]
    assert drifts(tmp_path, ours, exported) == ["method turn/steer: missing"]
    assert drifts(tmp_path / "other", exported, ours) == ["method turn/steer: extra"]


def test_the_script_asks_a_server_and_says_how_it_went(tmp_path: Path, exported: Tree) -> None:
    theirs = copy.deepcopy(exported)
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / BUNDLE).write_text(json.dumps(theirs))
    without_a_field(theirs["definitions"]["v2"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / BUNDLE).write_text(json.dumps(theirs))
    server = f"'{sys.executable}' -P -m supervisor app-server"
    command = [sys.executable, SCRIPTS / "compare_schema.py", server, "--experimental"]
    results = [
        subprocess.run(
            [*command, tmp_path / name],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for name in ("same", "other", "absent")
    ]
    assert [result.returncode for result in results] == [0, 1, 2]
    assert "Thread.preview: extra\n" in results[1].stdout
