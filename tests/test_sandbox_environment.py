"""The environment of commands."""

from __future__ import annotations

import msgspec
import pytest

from protocol.policy import DangerFullAccess, ExternalSandbox, ReadOnly
from sandbox_backends import ShellEnvironmentPolicy, environment
from sandbox_backends.env import marked

BASE = {
    "PATH": "/bin",
    "HOME": "/h",
    "API_KEY": "k",
    "my_secret": "s",
    "Token": "t",
    "EDITOR": "vi",
    "AWS_REGION": "x",
}


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (ShellEnvironmentPolicy(), set(BASE)),
        (ShellEnvironmentPolicy(ignore_default_excludes=False), {"PATH", "HOME", "EDITOR", "AWS_REGION"}),
        (ShellEnvironmentPolicy(inherit="core"), {"PATH", "HOME"}),
        (ShellEnvironmentPolicy(inherit="none"), set()),
        (ShellEnvironmentPolicy(exclude=("aws_*", "EDIT?R")), set(BASE) - {"AWS_REGION", "EDITOR"}),
        (ShellEnvironmentPolicy(include_only=("PATH", "*_key")), {"PATH", "API_KEY"}),
        (ShellEnvironmentPolicy(inherit="none", set={"A": "1", "B": "2"}, include_only=("A",)), {"A"}),
    ],
)
def test_policies(policy, names):
    assert set(environment(policy, BASE)) == names


def test_what_is_set_survives_the_excludes_and_overrides_come_last():
    policy = ShellEnvironmentPolicy(ignore_default_excludes=False, set={"API_KEY": "mine", "EDITOR": "ed"})
    env = environment(policy, BASE, overrides={"EDITOR": None, "HOME": "/other"}, thread_id="T")
    assert env == {
        "PATH": "/bin",
        "HOME": "/other",
        "API_KEY": "mine",
        "AWS_REGION": "x",
        "CODEX_THREAD_ID": "T",
    }


def test_the_policy_reads_from_configuration():
    text = b'{"inherit":"core","ignore_default_excludes":false,"exclude":["A*"],"set":{"X":"1"},"include_only":[]}'
    policy = msgspec.json.decode(text, type=ShellEnvironmentPolicy)
    assert policy.exclude == ("A*",)


def test_marks_say_what_is_true_and_nothing_stale():
    stale = {"CODEX_SANDBOX": "seatbelt", "CODEX_SANDBOX_NETWORK_DISABLED": "1"}
    assert marked(stale, DangerFullAccess(), "direct", sandboxed=True) == {}
    assert marked(stale, ReadOnly(), "direct", sandboxed=False) == {}
    assert marked({}, ReadOnly(), "linux-bwrap", sandboxed=True) == {"CODEX_SANDBOX_NETWORK_DISABLED": "1"}
    assert marked({}, ReadOnly(network_access=True), "linux-bwrap", sandboxed=True) == {}
    assert marked({}, ExternalSandbox(), "direct", sandboxed=True) == {"CODEX_SANDBOX_NETWORK_DISABLED": "1"}
    assert marked({}, ReadOnly(network_access=True), "seatbelt", sandboxed=True) == {
        "CODEX_SANDBOX": "seatbelt"
    }
