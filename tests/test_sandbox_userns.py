"""What is said where no user namespace is to be had."""

from __future__ import annotations

import os

import pytest

from sandbox_backends import userns
from sandbox_backends.bwrap import Bwrap, remedy_for


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with other settings, as an ordinary user sees it."""
    monkeypatch.setattr(userns, "SETTINGS", str(tmp_path))
    monkeypatch.setattr(userns, "STATUS", str(tmp_path / "status"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def set_up(**settings):
        for name, value in settings.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{value}\n")

    return set_up


@pytest.mark.parametrize(
    ("settings", "said", "remedy"),
    [
        (
            {"user__max_user_namespaces": "0"},
            "ENOSPC, user.max_user_namespaces",
            "user.max_user_namespaces",
        ),
        (
            {"kernel__unprivileged_userns_clone": "0"},
            "EPERM, kernel.unpriv",
            "unprivileged_userns_clone to 1",
        ),
        ({"kernel__apparmor_restrict_unprivileged_userns": "1"}, "AppArmor", "bwrap-userns-restrict"),
        ({"status": "Name:\tx\nSeccomp:\t2"}, "EPERM, a seccomp filter", "seccomp profile"),
    ],
)
def test_the_setting_that_refuses_is_named(machine, settings, said, remedy):
    machine(**settings)
    found = userns.refusal()
    assert found.reason.startswith("clone(CLONE_NEWUSER): ")
    assert said in found.reason
    assert remedy in found.remedy


def test_nothing_is_said_where_nothing_refuses(machine):
    machine(user__max_user_namespaces="1000", kernel__unprivileged_userns_clone="1", status="Seccomp:\t0")
    assert userns.refusal() is None


def test_the_backend_says_it(machine, tmp_path):
    machine(user__max_user_namespaces="0")
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.11.0 && exit\n'
        "echo bwrap: Creating new namespace failed: No space left on device >&2; exit 1\n"
    )
    bwrap.chmod(0o755)
    found = Bwrap(str(bwrap)).probe()
    assert not found.ok
    assert found.reason.startswith("clone(CLONE_NEWUSER): ENOSPC, user.max_user_namespaces is 0; ")
    assert "bwrap: Creating new namespace failed" in found.reason
    assert found.remedy == "raise the sysctl user.max_user_namespaces"


@pytest.mark.parametrize("words", ["create new namespace", "creating new namespace, likely because"])
def test_both_spellings_of_bubblewrap_have_a_remedy(words):
    assert "user namespaces" in remedy_for(f"bwrap: No permissions to {words}")
