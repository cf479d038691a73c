"""Why this machine makes no user namespace for us: which call, which errno, what to do.

bubblewrap says that it got none, in words that differ between versions; the cause is in the kernel's settings.
"""

from __future__ import annotations

import os

import msgspec

__all__ = ["Refusal", "refusal"]

CALL = "clone(CLONE_NEWUSER)"
SETTINGS = "/proc/sys"
STATUS = "/proc/self/status"


class Refusal(msgspec.Struct, frozen=True):
    """`reason` names call and errno."""

    reason: str
    remedy: str


def _setting(name: str) -> str | None:
    try:
        with open(os.path.join(SETTINGS, name)) as file:
            return file.read().strip()
    except OSError:
        return None


def _filtered() -> bool:
    """Whether a seccomp filter is around this process."""
    try:
        with open(STATUS) as file:
            return any(line.split() == ["Seccomp:", "2"] for line in file)
    except OSError:
        return False


def refusal() -> Refusal | None:
    """What is known to refuse them here; None if nothing is."""
    if not os.path.exists("/proc/self/ns/user"):
        return Refusal(
            f"{CALL}: EINVAL, this kernel has no user namespaces", "use a kernel with CONFIG_USER_NS"
        )
    if _setting("user/max_user_namespaces") == "0":
        return Refusal(
            f"{CALL}: ENOSPC, user.max_user_namespaces is 0",
            "raise the sysctl user.max_user_namespaces",
        )
    plain = os.geteuid() != 0
    if plain and _setting("kernel/unprivileged_userns_clone") == "0":
        return Refusal(
            f"{CALL}: EPERM, kernel.unprivileged_userns_clone is 0",
            "set the sysctl kernel.unprivileged_userns_clone to 1",
        )
    if plain and _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return Refusal(
            f"{CALL}: EACCES in what follows, AppArmor restricts unprivileged user namespaces",
            "load the AppArmor profile bwrap-userns-restrict (package apparmor-profiles), which is for /usr/bin/bwrap",
        )
    if _filtered():
        return Refusal(
            f"{CALL}: EPERM, a seccomp filter is around this process, as containers have",
            "run the container with a seccomp profile that allows clone, unshare and mount",
        )
    return None
