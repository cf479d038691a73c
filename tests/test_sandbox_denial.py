"""Telling a denial from an ordinary failure."""

from __future__ import annotations

import os

import pytest

from protocol.policy import DangerFullAccess, ReadOnly
from sandbox_backends.denial import detect
from sandbox_backends.plan import ExecPlan
from sandbox_backends.protection import Protected
from sandbox_backends.view import Root, View


def judge(tmp_path, said, code=1, *, policy=None, backend="linux-bwrap"):
    (tmp_path / "ws").mkdir(exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "file").touch()
    ws = str(tmp_path / "ws")
    plan = ExecPlan(
        argv=("x",),
        cwd=ws,
        env={},
        policy=policy or ReadOnly(),
        view=View((Root(ws, 1, 1, (Protected(f"{ws}/.git", "missing", ".git"),)),)),
        backend=backend,
        backend_reason="",
    )
    return detect(plan, code, said.format(out=tmp_path / "out", ws=ws))


@pytest.mark.parametrize(
    "said",
    [
        "touch: cannot touch '{out}/new': Read-only file system",
        "mkdir: cannot create directory \u2018{out}/new\u2019: Read-only file system",
        "bash: line 1: {out}/file: Read-only file system",
        "sh: 1: cannot create ../out/new: Read-only file system",
        "PermissionError: [Errno 1] Operation not permitted: '{out}/file'",
        "OSError: [Errno 30] Read-only file system: '{out}/a b'",
        "fatal: Unable to create '{ws}/.git/index.lock': Read-only file system\nnoise after",
    ],
)
def test_refused_paths_are_denials(tmp_path, said):
    if "index.lock" in said:
        (tmp_path / "ws" / ".git").mkdir(parents=True)
    denial = judge(tmp_path, said)
    assert (denial.kind, denial.confidence) == ("fs", "high")
    assert denial.path.startswith(str(tmp_path))


@pytest.mark.parametrize(
    "said",
    [
        "cat: '{ws}/file': Permission denied",
        "touch: cannot touch '/proc/no/such/place': Permission denied",
        "error: test failed: permission denied in sandbox",
        "Permission denied (publickey).",
        "ls: cannot access 'x': No such file or directory",
    ],
)
def test_ordinary_errors_are_not(tmp_path, said):
    assert judge(tmp_path, said) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="uid 0 may write everything outside")
def test_what_we_could_not_write_outside_either_is_no_denial(tmp_path):
    assert judge(tmp_path, "touch: cannot touch '/etc/new': Permission denied") is None


def test_the_kernels_word(tmp_path):
    assert judge(tmp_path, "", 128 + 31).kind == "seccomp"


def test_network(tmp_path):
    said = "curl: (6) Could not resolve host: example.org"
    assert judge(tmp_path, said, 6).kind == "network"
    assert judge(tmp_path, said, 6, policy=ReadOnly(network_access=True)) is None


def test_system_calls_are_a_guess(tmp_path):
    assert judge(tmp_path, "unshare: unshare failed: Operation not permitted").confidence == "low"


def test_no_denial_without_failure_or_without_sandbox(tmp_path):
    said = "touch: cannot touch '{out}/new': Read-only file system"
    assert judge(tmp_path, said, 0) is None
    assert judge(tmp_path, said, backend="direct") is None
    assert judge(tmp_path, said, policy=DangerFullAccess()) is None
