"""The environment of commands."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.policy import DangerFullAccess, ExternalSandbox, ReadOnly
from sandbox_backends import ShellEnvironmentPolicy, environment, plan
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
        "CODEX_SESSION_ID": "T",
    }
    assert environment(policy, BASE, call_id="c")["PAGER"] == "cat"


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


NAMES = st.text("ABKEYSECRTON_", min_size=1, max_size=8)
GLOBS = st.lists(st.text("ABKE*?_", min_size=1, max_size=4), max_size=3).map(tuple)


@given(
    base=st.dictionaries(NAMES, st.text(max_size=3), max_size=8),
    exclude=GLOBS,
    ignore=st.booleans(),
    set_=st.dictionaries(NAMES, st.just("set"), max_size=2),
    sandboxed=st.booleans(),
)
def test_a_plan_never_has_a_variable_that_the_policy_excludes(base, exclude, ignore, set_, sandboxed):
    policy = ShellEnvironmentPolicy(exclude=exclude, ignore_default_excludes=ignore, set=set_)
    base = {name: value.replace("\0", "") for name, value in base.items()}
    set_names = set(set_)
    made = plan(
        ["true"], cwd="/", policy=DangerFullAccess(), env=environment(policy, base), sandboxed=sandboxed
    )
    excluded = (*exclude, *(() if ignore else ("*KEY*", "*SECRET*", "*TOKEN*")))
    for name in made.env:
        assert name in set_names or not any(fnmatchcase(name.upper(), glob.upper()) for glob in excluded)
        assert name in set_names or base[name] == made.env[name]
