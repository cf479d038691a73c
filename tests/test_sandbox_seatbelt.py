"""The macOS sandbox's profile, read by an evaluator; its runner, with a stand-in for sandbox-exec."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_exec import decide

from protocol.policy import ReadOnly, WorkspaceWrite
from sandbox_backends import Registry, plan, run_with_plan
from sandbox_backends.protection import Protected
from sandbox_backends.seatbelt import BASE, NETWORK, Seatbelt, profile
from sandbox_backends.view import Mask, Root, View, writable

ROOTED = View(
    (
        Root("/tmp", 1, 1),
        Root(
            "/srv/ws",
            1,
            2,
            (Protected("/srv/ws/.git", "dir", ".git"), Protected("/srv/ws/.codex", "missing", ".codex")),
        ),
    )
)


@pytest.mark.parametrize(
    ("policy", "view", "text", "params"),
    [
        (ReadOnly(), View(), BASE, {}),
        (ReadOnly(network_access=True), View(), BASE + NETWORK, {}),
        (
            WorkspaceWrite(),
            ROOTED,
            BASE
            + "(allow file-write*\n"
            + '  (subpath (param "WRITABLE_ROOT_0"))\n'
            + '  (require-all (subpath (param "WRITABLE_ROOT_1"))'
            + ' (require-not (literal (param "WRITABLE_ROOT_1_PROTECTED_0")))'
            + ' (require-not (subpath (param "WRITABLE_ROOT_1_PROTECTED_0")))'
            + ' (require-not (literal (param "WRITABLE_ROOT_1_PROTECTED_1")))'
            + ' (require-not (subpath (param "WRITABLE_ROOT_1_PROTECTED_1")))))\n',
            {
                "WRITABLE_ROOT_0": "/tmp",
                "WRITABLE_ROOT_1": "/srv/ws",
                "WRITABLE_ROOT_1_PROTECTED_0": "/srv/ws/.git",
                "WRITABLE_ROOT_1_PROTECTED_1": "/srv/ws/.codex",
            },
        ),
        (
            WorkspaceWrite(network_access=True),
            View((Root("/ws", 1, 2),), (Mask("/home/u/.codex/auth.json", "file"),)),
            BASE
            + '(allow file-write*\n  (subpath (param "WRITABLE_ROOT_0")))\n'
            + '(deny file-read* file-write* (literal (param "MASKED_0")) (subpath (param "MASKED_0")))\n'
            + NETWORK,
            {"WRITABLE_ROOT_0": "/ws", "MASKED_0": "/home/u/.codex/auth.json"},
        ),
    ],
)
def test_the_profile_of_each_policy(policy, view, text, params):
    assert profile(policy, view) == (text, params)


@pytest.mark.parametrize(
    ("operation", "path", "allowed"),
    [
        ("file-read-data", "/etc/passwd", True),
        ("file-write-create", "/etc/x", False),
        ("file-write-create", "/srv/ws/x", True),
        ("file-write-create", "/srv/wsx", False),
        ("file-write-create", "/srv/ws/.git", False),
        ("file-write-data", "/srv/ws/.git/hooks/pre-commit", False),
        ("file-write-data", "/srv/ws/.github/x", True),
        ("network-outbound", "", False),
        ("process-exec", "", True),
    ],
)
def test_what_the_profile_allows(operation, path, allowed):
    text, params = profile(WorkspaceWrite(), ROOTED)
    assert decide(text, params, operation, path) is allowed


NAMES = st.sampled_from(["a", "b", ".git", ".codex"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(PATHS, min_size=1, max_size=3, unique=True), PATHS)
def test_the_profile_and_the_view_agree_on_every_path(tops, path):
    roots = tuple(
        Root(top, 1, 1, tuple(Protected(f"{top}/{name}", "dir", name) for name in (".git", ".codex")))
        for top in sorted(tops, key=lambda top: (top.count("/"), top))
    )
    view = View(roots)
    text, params = profile(WorkspaceWrite(), view)
    if not writable(view, path):
        assert not decide(text, params, "file-write-create", path)
    elif not any(
        item.path != path and path.startswith(item.path + "/") for root in roots for item in root.protected
    ):
        assert decide(text, params, "file-write-create", path)


@pytest.fixture
def stand_in(tmp_path):
    path = tmp_path / "bin" / "sandbox-exec"
    path.parent.mkdir()
    shutil.copy(Path(__file__).parent / "sandbox_exec.py", path)
    path.write_text(path.read_text().replace("/usr/bin/env python3", sys.executable, 1))
    path.chmod(0o755)
    return path


def test_a_command_is_started_through_sandbox_exec(stand_in, tmp_path):
    workspace = tmp_path / "ws"
    (workspace / ".git").mkdir(parents=True)

    async def main(*argv):
        made = plan(
            argv,
            cwd=str(workspace),
            policy=WorkspaceWrite(exclude_slash_tmp=True),
            env={"PATH": os.environ["PATH"]},
            registry=Registry((Seatbelt(str(stand_in)),)),
        )
        assert made.backend == "seatbelt"
        assert made.env["CODEX_SANDBOX"] == "seatbelt"
        assert made.env["CODEX_SANDBOX_NETWORK_DISABLED"] == "1"
        command = await run_with_plan(made, registry=Registry((Seatbelt(str(stand_in)),)))
        return await command.wait()

    result = asyncio.run(main("sh", "-c", "echo $CODEX_SANDBOX; exit 7"))
    assert (result.exit_code, result.output.text()) == (7, "seatbelt\n")
    calls = [json.loads(line) for line in (stand_in.parent / "calls.jsonl").read_text().splitlines()]
    assert calls[-1]["argv"] == ["sh", "-c", "echo $CODEX_SANDBOX; exit 7"]
    assert calls[-1]["params"]["WRITABLE_ROOT_0"] == str(workspace)
    assert str(workspace) not in calls[-1]["profile"]
    assert calls[-1]["params"]["WRITABLE_ROOT_0_PROTECTED_0"] == str(workspace / ".git")


def test_without_sandbox_exec_there_is_a_reason(tmp_path):
    found = Seatbelt(str(tmp_path / "none")).probe()
    assert not found.ok
    assert "none is not there" in found.reason


def test_a_profile_that_is_not_taken_is_a_failed_set_up():
    said = "sandbox-exec: parameters do not fit the profile\n"
    made = plan(["true"], cwd="/", policy=ReadOnly(), env={}, sandboxed=False)
    outcome = Seatbelt().outcome(made, 65, b"", said)
    assert (outcome.started, outcome.exit_code) == (False, 125)
    assert outcome.setup_failed.reason == "parameters do not fit the profile"
